"""Agents that the registry no longer has leave Matrix: their ghosts go offline, then out of every room.

Whom it is about stands in ``removed_agents`` since the transaction that removed the agent, and stays there until all is done, so
a crash or a restart forgets nobody. What an agent said before it was removed is still sent first; and for a while it is looked
at again, because another process of the city may have taken a message of it meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import AgentSlug, Room, RoomId, UserId
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...storage.database import Database
from ...storage.removed_agents import RemovedAgent
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..ghosts.ghosts import Ghosts, is_unregistered
from ..ghosts.role_field import RoleFieldWriter
from ..inbound.direct_chats import NO_SUCH_AGENT

_LOOK_AGAIN_MS: Final = 30_000
"""So long after its removal an agent may still have been somebody in another process of the city."""
_AT_ONCE: Final = 8
"""Ghosts that leave at the same time."""

log = structlog.get_logger()


class GhostRemoval:
    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        ghosts: Ghosts,
        roles: RoleFieldWriter,
        agents: AgentDirectory,
        identities: Identities,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._ghosts = ghosts
        self._roles = roles
        self._agents = agents
        self._identities = identities
        self._now_ms = now_ms

    async def run(self) -> tuple[list[AgentSlug], bool]:
        """For everybody who was removed. Answers who that was, and whether nothing is left to do for any of them."""
        async with self._database.reading() as tx:
            noted = await tx.removed_agents.all()
            rooms = [*await tx.rooms.all(), *await tx.rooms.direct_chats(waiting=False)] if noted else []
        # One that is back, or that we do not know to be gone, is somebody's whom the registry is about to tell of.
        removed = [each for each in noted if self._agents.get(each.slug) is None]
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._try_to_say(each, rooms, slots)) for each in removed]
        return [each.slug for each in removed], len(removed) == len(noted) and all(task.result() for task in tasks)

    async def _try_to_say(self, removed: RemovedAgent, rooms: list[Room], slots: asyncio.Semaphore) -> bool:
        async with slots:
            try:
                with isolated("farewells", removed.slug):
                    return await self._say(removed, rooms)
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
            except HomeserverRefused as error:
                log.warning("ghost_removal_failed", agent=removed.slug, error=str(error), help="trying again")
            except (SQLAlchemyError, OSError) as error:
                log.warning(
                    "ghost_removal_failed", agent=removed.slug, error=str(error), help="the database does not answer"
                )
        return False

    async def _say(self, removed: RemovedAgent, rooms: list[Room]) -> bool:
        user = self._identities.agent(removed.slug)
        async with self._database.reading() as tx:
            unsent = await tx.removed_agents.unsent(removed.slug, user)
        try:
            await self._leave(user, rooms, unsent)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
        for room in rooms:
            if room.id not in unsent and self._ghosts.is_in(user, room):
                await self._ghosts.not_joined(user, room)
        if unsent or self._now_ms() < removed.removed_at_ms + _LOOK_AGAIN_MS:
            return False
        async with self._database.transaction() as tx:
            await tx.removed_agents.done(removed)
        return True

    async def _leave(self, user: UserId, rooms: list[Room], unsent: set[RoomId]) -> None:
        """Leave all rooms, direct chats and the space included, but those with ``unsent`` messages; decline all invitations."""
        needed = {room.matrix_room_id for room in rooms if room.id in unsent}
        joined = await self._homeserver.joined_rooms(as_user=user)
        if joined:
            # While somebody can still see it.
            await self._homeserver.set_presence(user, "offline", None)
            await self._roles.clear(user)
        # Invitations to chats of other agents were neither accepted nor declined while the agent existed.
        invited = await self._homeserver.invitations(as_user=user)
        refusals = []
        for room in sorted((joined | invited.keys()) - needed):
            try:
                await self._homeserver.leave(room, as_user=user, reason=NO_SUCH_AGENT if room in invited else None)
            except HomeserverRefused as error:
                refusals.append(error)  # which is no reason to stay in the others
        if refusals:
            raise refusals[0]
