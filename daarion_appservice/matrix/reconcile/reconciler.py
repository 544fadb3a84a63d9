"""The reconciler: makes the homeserver match the city. The space and the rooms come first, then the agents' ghosts.

A pass runs after a change of rooms or of the registry, and again 30 seconds after a failure. The reconciler remembers
the state that it has applied, so a pass over a thousand unchanged agents costs one comparison each and no request.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.types import Agent, MatrixRoomId, MatrixStatus, Room, RoomId, UserId
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import advice
from ..ghosts.ghosts import Ghosts, Profile, is_unregistered, profile_of
from ..ghosts.role_field import RoleFieldWriter
from ..outbound.worker import OutboundWorker
from ..presence.observer import Observer
from ..presence.sender import PresenceSender
from .ghost_removal import GhostRemoval
from .rooms import MatrixRooms

_RETRY_S: Final = 30.0
_AWAY_PAUSE_S: Final = 1.0
_LOOK_AROUND_S: Final = 300.0
"""Seconds between two passes without a change: they find wrong rooms, and ghosts that the homeserver does not know."""
_AT_ONCE: Final = 8
"""Maximum number of ghosts that are set up at the same time."""

log = structlog.get_logger()

RoomState = tuple[str, str, bool]
Homes = tuple[tuple[RoomId, MatrixRoomId | None], ...]


class Reconciler:
    """Runs the passes for as long as this process is the leader."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        rooms: MatrixRooms,
        ghosts: Ghosts,
        agents: AgentDirectory,
        identities: Identities,
        presence_sender: PresenceSender,
        outbound: OutboundWorker,
        observer: Observer,
        roles: RoleFieldWriter,
        ghost_removal: GhostRemoval,
        *,
        city_name: str,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._rooms = rooms
        self._ghosts = ghosts
        self._agents = agents
        self._identities = identities
        self._presence_sender = presence_sender
        self._outbound = outbound
        self._observer = observer
        self._roles = roles
        self._ghost_removal = ghost_removal
        self._city_name = city_name
        self._wake = asyncio.Event()
        self._kept_rooms: dict[RoomId, RoomState] = {}
        self._doubted: set[RoomId] = set()
        self._looked_around_at = 0.0
        self._kept_agents: dict[str, tuple[Agent, Homes]] = {}
        self._in_space: set[str] | None = None
        self.is_done = False
        """Whether a pass has been completed since the start; rooms and log events show its failures."""
        monitor.on_return(self.wake)
        monitor.on_return(roles.ask_again)

    def wake(self) -> None:
        """Start a pass soon: rooms or agents have changed."""
        self._wake.set()

    def request_check(self, room: RoomId) -> None:
        """Check a room in the next pass, even if it has not changed: its link with the Matrix room may be broken."""
        self._doubted.add(room)
        self._wake.set()

    async def run(self) -> None:
        """Run passes until cancelled. A later call forgets the applied state, which another leader may have changed."""
        self._kept_rooms.clear()
        self._kept_agents.clear()
        self._in_space = None
        self._looked_around_at = asyncio.get_running_loop().time()
        while True:
            self._wake.clear()
            await self._monitor.wait_up()
            try:
                all_well = await self._keep_all()
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
                await asyncio.sleep(_AWAY_PAUSE_S)
                continue
            except (HomeserverRefused, SQLAlchemyError, OSError) as error:
                log.error("reconcile_failed", error=str(error), help=_help(error))
                all_well = False
            try:
                async with asyncio.timeout(_LOOK_AROUND_S if all_well else _RETRY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _keep_all(self) -> bool:
        await self._ghosts.ensure(self._identities.bot, Profile(self._city_name))
        space_well = await self._keep_space()
        linked = await self._keep_rooms()
        self._outbound.resume()
        await self._observer.attend({room.matrix_room_id: room.id for room in linked.values() if room.matrix_room_id})
        agents_well = await self._keep_agents(linked)
        removed_well = await self._say_farewell()
        self.is_done = True
        async with self._database.reading() as tx:
            wanted = [room for room in await tx.rooms.all() if not room.archived]
        # A retry cannot repair an encrypted room.
        return (
            space_well
            and agents_well
            and removed_well
            and all(room.slug in linked or room.encrypted for room in wanted)
        )

    async def _keep_space(self) -> bool:
        """Create or join the city's space; return False if that fails, which does not stop rooms and agents."""
        try:
            space = await self._rooms.keep_space()
            if self._in_space is None:
                self._in_space = set(await self._homeserver.joined_members(space, as_user=self._identities.bot))
        except HomeserverRefused as error:
            log.warning(
                "space_reconcile_failed",
                alias=self._identities.space_alias,
                error=str(error),
                help=advice(error) or "rooms and agents do without it; if the alias is another room's, free it",
            )
            return False
        return True

    async def _keep_rooms(self) -> dict[str, Room]:
        """Reconcile all rooms; return those that are linked with a Matrix room, by slug."""
        async with self._database.reading() as tx:
            rooms = await tx.rooms.all()
        await self._look_around(rooms)
        linked = {}
        for room in rooms:
            if room.archived and room.matrix_room_id is None:
                continue
            kept = room
            with isolated("housekeeping", room.slug):
                kept = await self._keep_room(room)
            if kept.matrix_status is MatrixStatus.LINKED:
                linked[kept.slug] = kept
        return linked

    async def _look_around(self, rooms: list[Room]) -> None:
        """Every ``_LOOK_AROUND_S`` seconds, find rooms whose Matrix room or alias has changed without an event."""
        now = asyncio.get_running_loop().time()
        kept = [room for room in rooms if room.id in self._kept_rooms and _is_well(room)]
        if now - self._looked_around_at >= _LOOK_AROUND_S and kept:
            with isolated("housekeeping", "look around"):
                self._doubted |= {room.id for room in await self._rooms.astray(kept)}
            self._looked_around_at = now

    async def _keep_room(self, room: Room) -> Room:
        if _is_well(room) and room.id not in self._doubted and self._kept_rooms.get(room.id) == _state(room):
            return room
        # Before the check: a request for another one during the check is about a later change.
        self._doubted.discard(room.id)
        self._kept_rooms.pop(room.id, None)
        kept = await self._rooms.reconcile(room)
        self._kept_rooms[kept.id] = _state(kept)
        return kept

    async def _keep_agents(self, linked: dict[str, Room]) -> bool:
        slots = asyncio.Semaphore(_AT_ONCE)
        async with self._database.reading() as tx:
            put_out = await tx.restrictions.removed_users()
        homes = {agent: self._homes(agent, linked, put_out) for agent in self._agents.all()}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._keep_agent(agent, homes[agent], slots))
                for agent in homes
                if not self._is_kept(agent, homes[agent])
            ]
        return all(task.result() for task in tasks)

    def _homes(self, agent: Agent, linked: dict[str, Room], put_out: set[tuple[RoomId, UserId]]) -> list[Room]:
        """Return the rooms that an agent has to join: the registry's, without those it is kicked or banned from."""
        user = self._identities.agent(agent.slug)
        homes = [linked[slug] for slug in agent.rooms if slug in linked and not linked[slug].archived]
        return [room for room in homes if (room.id, user) not in put_out]

    def _is_kept(self, agent: Agent, homes: list[Room]) -> bool:
        kept = self._kept_agents.get(agent.slug)
        return kept == (agent, _addresses(homes)) and self._ghosts.is_known(self._identities.agent(agent.slug))

    async def _keep_agent(self, agent: Agent, homes: list[Room], slots: asyncio.Semaphore) -> bool:
        async with slots:
            try:
                is_settled = False
                with isolated("housekeeping", agent.slug):
                    await self._settle(agent, homes)
                    is_settled = True
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
                return False
            except HomeserverRefused as error:
                log.warning("ghost_setup_failed", agent=agent.slug, error=str(error), help=_help(error))
                return False
            except (SQLAlchemyError, OSError) as error:
                log.warning(
                    "ghost_setup_failed", agent=agent.slug, error=str(error), help="the database does not answer"
                )
                return False
        if is_settled:
            self._kept_agents[agent.slug] = (agent, _addresses(homes))
        return is_settled

    async def _say_farewell(self) -> bool:
        """Remove the ghosts of removed agents; return whether none is left."""
        gone, is_well = await self._ghost_removal.run()
        for slug in gone:
            self._kept_agents.pop(slug, None)
            if self._in_space is not None:
                self._in_space.discard(self._identities.agent(slug))
        return is_well

    async def _settle(self, agent: Agent, homes: list[Room]) -> None:
        """Register an agent's ghost, set its profile and join its rooms; again if the homeserver has lost the ghost.

        A refused join does not stop the others. The first refusal is raised after all joins were tried.
        """
        user = self._identities.agent(agent.slug)
        try:
            await self._ensure(agent, homes)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self._ghosts.forget(user)
            await self._ensure(agent, homes)

    async def _ensure(self, agent: Agent, homes: list[Room]) -> None:
        user = self._identities.agent(agent.slug)
        await self._ghosts.ensure(user, profile_of(agent))
        await self._roles.show(agent)
        refusals = []
        joins = [
            partial(self._join_space, user),
            *(partial(self._ghosts.ensure_joined, user, room, invite=True) for room in homes),
        ]
        for join in joins:
            try:
                await join()
            except HomeserverRefused as error:
                refusals.append(error)
        self._presence_sender.ghost_ready(user)
        if refusals:
            raise refusals[0]

    async def _join_space(self, user: UserId) -> None:
        if self._rooms.space is not None and self._in_space is not None and user not in self._in_space:
            await self._ghosts.join(user, self._rooms.space)
            self._in_space.add(user)


def _help(error: Exception) -> str:
    again = f"trying again in {_RETRY_S:.0f} s"
    return f"{to_do}; {again}" if (to_do := advice(error)) else again


def _state(room: Room) -> RoomState:
    return room.name, room.description, room.archived


def _is_well(room: Room) -> bool:
    return room.matrix_status is MatrixStatus.LINKED and room.matrix_error is None


def _addresses(homes: list[Room]) -> Homes:
    """Return room ids with Matrix room ids: if the Matrix room changes, the ghost has to join again."""
    return tuple((room.id, room.matrix_room_id) for room in homes)
