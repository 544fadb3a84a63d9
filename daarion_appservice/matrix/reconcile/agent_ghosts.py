"""Sets up the ghosts of the registry's agents: registration, profile, memberships of the space and the agents' rooms.

The applied state of each agent is remembered, so a pass over a thousand unchanged agents costs one comparison each and
no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.types import Agent, AgentSlug, MatrixRoomId, Room, RoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import advice, is_unregistered
from ..ghosts.ghosts import Ghosts
from ..ghosts.profile_fields import RoleFieldWriter
from ..presence.sender import PresenceSender
from .set_up_progress import SetUpProgress
from .space import CitySpace

RETRY_S: Final = 30.0
"""Seconds until the reconciler repeats a pass that failed."""
_CONCURRENCY: Final = 8
"""Maximum number of ghosts that are set up at the same time."""
_AT_ONCE: Final = 500
"""Agents that are compared before other tasks run: this holds the event loop for a few milliseconds."""

log = structlog.get_logger()

RoomAddresses = tuple[tuple[RoomId, MatrixRoomId | None], ...]


class AgentGhosts:
    """Compares the agents with the applied state, and sets up the ghosts that differ."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        ghosts: Ghosts,
        agents: AgentDirectory,
        identities: Identities,
        space: CitySpace,
        roles: RoleFieldWriter,
        presence_sender: PresenceSender,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._ghosts = ghosts
        self._agents = agents
        self._identities = identities
        self._space = space
        self._roles = roles
        self._presence_sender = presence_sender
        self._applied: dict[AgentSlug, tuple[Agent, RoomAddresses]] = {}
        self._space_members: set[UserId] | None = None
        """None until they were requested."""
        monitor.on_return(roles.forget_support)

    def clear(self) -> None:
        """Forget the applied state, which another leader may have changed."""
        self._applied.clear()
        self._space_members = None

    def forget_all(self) -> None:
        """Compare all agents with the homeserver's state in the next pass."""
        self._applied.clear()

    def forget(self, slug: AgentSlug) -> None:
        """Forget the applied state of an agent whose ghost was removed."""
        self._applied.pop(slug, None)
        if self._space_members is not None:
            self._space_members.discard(self._identities.agent(slug))

    async def load_space_members(self, space: MatrixRoomId) -> None:
        """Request the members of the space, once.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the request failed.
        """
        if self._space_members is None:
            self._space_members = set(await self._homeserver.joined_members(space, as_user=self._identities.bot))

    async def ensure_all(self, linked: Mapping[str, Room], is_interrupted: Callable[[], bool]) -> SetUpProgress:
        """Set up the ghosts of all agents; return how far that went.

        The first set-up of many ghosts takes long, so it ends early when the homeserver becomes unavailable, or, after
        a while, for another pass over rooms and agents; ghosts that were set up are not set up again.

        Args:
            linked: the rooms with a Matrix room, by slug.
            is_interrupted: returns whether another pass was requested meanwhile.
        """
        async with self._database.read_only() as tx:
            removed = await tx.restrictions.removed_users()
        progress = SetUpProgress(await self._unapplied(linked, removed), is_interrupted)
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(self._ensure_some(progress))
        return progress

    async def _unapplied(
        self, linked: Mapping[str, Room], removed: set[tuple[RoomId, UserId]]
    ) -> list[tuple[Agent, list[Room]]]:
        """Return the agents whose ghosts have to be set up, with their rooms."""
        unapplied = []
        for number, agent in enumerate(self._agents.all()):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # lets other tasks run
            rooms = self._rooms_to_join(agent, linked, removed)
            if not self._is_applied(agent, rooms):
                unapplied.append((agent, rooms))
        return unapplied

    async def _ensure_some(self, progress: SetUpProgress) -> None:
        """Set up ghosts until none is left or the set-up ends early."""
        for agent, rooms in progress.remaining():
            progress.count(is_set_up=await self._ensure_isolated(agent, rooms, progress))

    def _rooms_to_join(
        self, agent: Agent, linked: Mapping[str, Room], removed: set[tuple[RoomId, UserId]]
    ) -> list[Room]:
        """Return the registry's rooms of an agent, without those that the agent is kicked or banned from."""
        user = self._identities.agent(agent.slug)
        rooms = [linked[slug] for slug in agent.rooms if slug in linked and not linked[slug].archived]
        return [room for room in rooms if (room.id, user) not in removed]

    def _is_applied(self, agent: Agent, rooms: list[Room]) -> bool:
        applied = self._applied.get(agent.slug)
        return applied == (agent, _addresses(rooms)) and self._ghosts.is_known(self._identities.agent(agent.slug))

    async def _ensure_isolated(self, agent: Agent, rooms: list[Room], progress: SetUpProgress) -> bool:
        try:
            is_applied = False
            with isolated("reconciler", agent.slug):
                await self._ensure_registered_again(agent, rooms)
                is_applied = True
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            progress.end()
            return False
        except HomeserverRefused as error:
            log.warning("ghost_setup_failed", agent=agent.slug, error=str(error), help=retry_help(error))
            return False
        except DatabaseError as error:
            log.warning("ghost_setup_failed", agent=agent.slug, error=str(error), help="the database does not answer")
            return False
        if is_applied:
            self._applied[agent.slug] = (agent, _addresses(rooms))
        return is_applied

    async def _ensure_registered_again(self, agent: Agent, rooms: list[Room]) -> None:
        """Set up an agent's ghost; if the homeserver has lost the ghost, register it again."""
        try:
            await self._ensure(agent, rooms)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self._ghosts.forget(self._identities.agent(agent.slug))
            await self._ensure(agent, rooms)

    async def _ensure(self, agent: Agent, rooms: list[Room]) -> None:
        """Register an agent's ghost, set its profile and join its rooms.

        A refused join does not stop the others. The first refusal is raised after all joins were tried.
        """
        user = self._identities.agent(agent.slug)
        await self._ghosts.ensure(user, self._ghosts.profiles.agent(agent))
        await self._roles.write(agent)
        refusals = []
        joins = [
            partial(self._join_space, user),
            *(partial(self._ghosts.ensure_joined, user, room, invite=True) for room in rooms),
        ]
        for join in joins:
            try:
                await join()
            except HomeserverRefused as error:
                refusals.append(error)
        self._presence_sender.on_ghost_ready(user)
        if refusals:
            raise refusals[0]

    async def _join_space(self, user: UserId) -> None:
        if self._space.id is not None and self._space_members is not None and user not in self._space_members:
            await self._ghosts.join(user, self._space.id)
            self._space_members.add(user)


def _addresses(rooms: list[Room]) -> RoomAddresses:
    """Return room ids with Matrix room ids: if the Matrix room changes, the ghost has to join again."""
    return tuple((room.id, room.matrix_room_id) for room in rooms)


def retry_help(error: Exception) -> str:
    """Return the ``help`` of a log entry: what the admin can correct, and when the service tries again."""
    retry = f"trying again in {RETRY_S:.0f} s"
    return f"{known}; {retry}" if (known := advice(error)) else retry
