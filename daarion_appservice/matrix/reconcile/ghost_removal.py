"""Removes the ghosts of agents that are no longer in the registry: they go offline, leave every room and lose their encryption
device.

The transaction that removes an agent stores it in ``removed_agents``, where it remains until its ghost has left, so a
crash or a restart loses none. Messages from before the removal are sent first. The removal is repeated for 30 seconds,
because another process of the city may have accepted a message of the agent in the meantime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import AgentSlug, Room, RoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...storage.database import Database
from ...storage.removed_agents import RemovedAgent
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from ..ghosts.ghosts import Ghosts
from ..ghosts.profile_fields import RoleFieldWriter
from ..inbound.direct_chats import NO_SUCH_AGENT

_REPEAT_MS: Final = 30_000
"""Milliseconds after its removal in which another process of the city may still accept an agent's messages."""
_CONCURRENCY: Final = 8
"""Maximum number of ghosts that leave at the same time."""

log = structlog.get_logger()


class GhostRemoval:
    """Has the ghosts of removed agents leave; the reconciler calls it in each pass."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        ghosts: Ghosts,
        roles: RoleFieldWriter,
        agents: AgentDirectory,
        identities: Identities,
        delete_encryption_device: Callable[[UserId], Awaitable[None]],
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._ghosts = ghosts
        self._roles = roles
        self._agents = agents
        self._identities = identities
        self._delete_encryption_device = delete_encryption_device
        self._now_ms = now_ms

    async def run(self) -> tuple[list[AgentSlug], bool]:
        """Remove the ghosts of all removed agents; return the slugs of these, and whether nothing is left to do."""
        async with self._database.read_only() as tx:
            stored = await tx.removed_agents.all()
            rooms = [*await tx.rooms.all(), *await tx.direct_chats.linked()] if stored else []
        # An agent that is still in the directory was added again, or the directory is about to be reloaded.
        removed = [each for each in stored if self._agents.get(each.slug) is None]
        limit = asyncio.Semaphore(_CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._remove_isolated(each, rooms, limit)) for each in removed]
        return [each.slug for each in removed], len(removed) == len(stored) and all(task.result() for task in tasks)

    async def _remove_isolated(self, removed: RemovedAgent, rooms: list[Room], limit: asyncio.Semaphore) -> bool:
        async with limit:
            try:
                with isolated("ghost_removal", removed.slug):
                    return await self._remove(removed, rooms)
            except HomeserverUnavailable as error:
                self._monitor.report_unavailable(error)
            except HomeserverRefused as error:
                log.warning("ghost_removal_failed", agent=removed.slug, error=str(error), help="trying again")
            except DatabaseError as error:
                log.warning(
                    "ghost_removal_failed", agent=removed.slug, error=str(error), help="the database does not answer"
                )
        return False

    async def _remove(self, removed: RemovedAgent, rooms: list[Room]) -> bool:
        user = self._identities.agent(removed.slug)
        async with self._database.read_only() as tx:
            unsent = await tx.removed_agents.unsent(removed.slug, user)
        try:
            await self._leave(user, rooms, unsent)
            if not unsent:
                # No client encrypts for it any more, and its keys must not be of use to a later reader of the database.
                await self._delete_encryption_device(user)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
        for room in rooms:
            if room.id not in unsent and self._ghosts.is_in(user, room):
                await self._ghosts.not_joined(user, room)
        if unsent or self._now_ms() < removed.removed_at_ms + _REPEAT_MS:
            return False
        async with self._database.transaction() as tx:
            await tx.removed_agents.delete(removed)
        return True

    async def _leave(self, user: UserId, rooms: list[Room], unsent: set[RoomId]) -> None:
        """Leave all rooms without ``unsent`` messages, direct chats and the space included; decline all invitations."""
        rooms_with_unsent = {room.matrix_room_id for room in rooms if room.id in unsent}
        joined = await self._homeserver.joined_rooms(as_user=user)
        if joined:
            # Before the ghost leaves: only users who share a room with it see its presence.
            await self._homeserver.set_presence(user, "offline", None)
            await self._roles.clear(user)
        # Invitations to chats of other agents were neither accepted nor declined while the agent existed.
        invited = await self._homeserver.invitations(as_user=user)
        refusals = []
        for room in sorted((joined | invited.keys()) - rooms_with_unsent):
            try:
                await self._homeserver.leave(room, as_user=user, reason=NO_SUCH_AGENT if room in invited else None)
            except HomeserverRefused as error:
                refusals.append(error)  # Leave the other rooms nevertheless.
        if refusals:
            raise refusals[0]
