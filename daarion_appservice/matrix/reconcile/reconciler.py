"""The reconciler: makes the homeserver match the city. The space and the rooms come first, then the agents' ghosts.

A pass runs after a change of rooms or of the registry, and again 30 seconds after a failure. The reconciler remembers
the state that it has applied, so a pass over unchanged rooms and agents costs no request.

The first pass of a leader checks each room by about twenty requests. Rooms that an earlier process has linked, and that the
bot is still in, count as linked meanwhile: what is new is set up first, and they are checked after it, so that a thousand
rooms do not delay the observer, the agents and `is_done`. A change during the check is applied first, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import structlog

from ...city.identity import Identities
from ...city.types import MatrixStatus, Room, RoomId
from ...errors import HomeserverRefused
from ...realtime.isolation import isolated
from ...realtime.worker import Worker
from ...storage.database import Database
from ..avatars.drawn_avatars import DrawnAvatars
from ..client.monitor import HomeserverMonitor
from ..client.refusals import advice
from ..ghosts.ghosts import Ghosts
from ..ghosts.profile_fields import RoleFieldWriter
from ..outbound.worker import OutboundWorker
from ..presence.observer import Observer
from .agent_ghosts import RETRY_S, AgentGhosts, retry_help
from .ghost_removal import GhostRemoval
from .room_links import RoomLinks
from .room_removal import RoomRemoval
from .rooms import MatrixRooms
from .set_up_progress import UNINTERRUPTED_S
from .space import CitySpace
from .writing_agents import WritingAgents

_LINK_CHECK_S: Final = 300.0
"""Seconds between two passes without a change: they find wrong rooms, and ghosts that the homeserver does not know."""

_BOT_TITLE: Final = "Creates and looks after the rooms of the city"
_OBSERVER_TITLE: Final = "Tells the city who is online and typing; reads no messages and writes none"

log = structlog.get_logger()

RoomState = tuple[str, str, bool]


class Reconciler:
    """Runs the passes for as long as this process is the leader."""

    def __init__(
        self,
        database: Database,
        monitor: HomeserverMonitor,
        space: CitySpace,
        links: RoomLinks,
        rooms: MatrixRooms,
        agent_ghosts: AgentGhosts,
        ghost_removal: GhostRemoval,
        identities: Identities,
        outbound: OutboundWorker,
        observer: Observer,
        *,
        room_removal: RoomRemoval,
        writing_agents: WritingAgents,
        ghosts: Ghosts,
        roles: RoleFieldWriter,
        drawn_avatars: DrawnAvatars,
    ) -> None:
        self._database = database
        self._monitor = monitor
        self._space = space
        self._links = links
        self._rooms = rooms
        self._agent_ghosts = agent_ghosts
        self._ghost_removal = ghost_removal
        self._identities = identities
        self._outbound = outbound
        self._observer = observer
        self._room_removal = room_removal
        self._writing_agents = writing_agents
        self._ghosts = ghosts
        self._roles = roles
        self._drawn_avatars = drawn_avatars
        self._worker = Worker("reconciler", idle_s=_LINK_CHECK_S, monitor=monitor)
        self._applied: dict[RoomId, RoomState] = {}
        self._check_requested: set[RoomId] = set()
        self._links_checked_at_s = 0.0
        self.is_done = False
        """Whether rooms and ghosts are set up; rooms and log events show failures. Linked rooms may still be unchecked."""
        monitor.on_return(self.wake)

    def wake(self) -> None:
        """Start a pass soon: rooms or agents have changed."""
        self._worker.wake()

    def request_check(self, room: RoomId) -> None:
        """Check a room in the next pass, even if it has not changed: its link with the Matrix room may be broken."""
        self._check_requested.add(room)
        self._worker.wake()

    async def run(self) -> None:
        """Run passes until cancelled. A later call forgets the applied state, which another leader may have changed."""
        self._applied.clear()
        self._agent_ghosts.clear()
        self._space.is_set_up = False
        await self._drawn_avatars.load()
        self._links_checked_at_s = asyncio.get_running_loop().time()
        await self._worker.run(self._run_pass)

    async def _run_pass(self) -> float:
        """Reconcile everything; return the longest time until the next pass, in seconds."""
        try:
            is_complete = await self._reconcile()
        except HomeserverRefused as error:
            log.error("reconcile_failed", error=str(error), help=retry_help(error))
            is_complete = False
        return _LINK_CHECK_S if is_complete else RETRY_S

    async def _reconcile(self) -> bool:
        """Reconcile space, rooms and ghosts; return whether nothing is left that a retry can repair."""
        await self._ghosts.ensure(self._identities.bot, self._ghosts.profiles.bot)
        await self._roles.write_service_user(self._identities.bot, _BOT_TITLE)
        is_space_complete = await self._ensure_space()
        # Before the rooms: a new room may have the alias of a removed one.
        are_removed_rooms_left = await self._room_removal.run()
        unchecked = await self._unchecked_rooms()
        linked = await self._reconcile_rooms(unchecked)
        is_complete = await self._ensure_ghosts(linked)
        if unchecked:
            uninterrupted_until_s = asyncio.get_running_loop().time() + UNINTERRUPTED_S
            linked = await self._reconcile_rooms(unchecked, uninterrupted_until_s)
            is_complete = await self._ensure_ghosts(linked)
        are_avatars_complete = await self._check_avatars()
        async with self._database.read_only() as tx:
            open_rooms = [room for room in await tx.rooms.all() if not room.archived]
        # A retry cannot repair an encrypted room.
        are_rooms_complete = all(room.slug in linked or room.encrypted for room in open_rooms)
        are_complete = is_complete and are_rooms_complete and are_avatars_complete
        return is_space_complete and are_complete and are_removed_rooms_left

    async def _ensure_ghosts(self, linked: dict[str, Room]) -> bool:
        """Set up agents and observer in the linked rooms, by slug; return whether nothing is left that a retry can repair."""
        await self._writing_agents.update(linked.values())
        self._outbound.resume()
        await self._observer.observe({room.matrix_room_id: room.id for room in linked.values() if room.matrix_room_id})
        await self._roles.write_service_user(self._identities.observer, _OBSERVER_TITLE)
        agents = await self._agent_ghosts.ensure_all(linked, lambda: self._worker.is_woken)
        removed, is_removal_complete = await self._ghost_removal.run()
        for slug in removed:
            self._agent_ghosts.forget(slug)
        if not agents.was_interrupted:
            self.is_done = True
        return agents.is_complete and is_removal_complete

    async def _check_avatars(self) -> bool:
        """Find avatars that the homeserver has lost; return False if the next pass has to set avatars again."""
        lost = await self._drawn_avatars.find_lost(self._ghosts.avatars_from_files())
        await self._ghosts.forget_avatars(lost)
        if not lost and not self._drawn_avatars.is_incomplete:
            return True
        self._drawn_avatars.is_incomplete = False
        # A pass over rooms and agents whose avatars are current costs no change on the homeserver.
        self._applied.clear()
        self._agent_ghosts.forget_all()
        self._space.is_set_up = False
        return False

    async def _ensure_space(self) -> bool:
        """Create or join the city's space; return False if that fails, which does not stop rooms and agents."""
        try:
            await self._agent_ghosts.load_space_members(await self._space.ensure())
            await self._space.set_up()
        except HomeserverRefused as error:
            log.warning(
                "space_reconcile_failed",
                alias=self._identities.space_alias,
                error=str(error),
                help=advice(error) or "rooms and agents do without it; if the alias is another room's, free it",
            )
            return False
        return True

    async def _unchecked_rooms(self) -> set[RoomId]:
        """Return the linked rooms that this leader has not checked yet, and that the bot is in."""
        async with self._database.read_only() as tx:
            rooms = await tx.rooms.all()
        unchecked = [room for room in rooms if _is_linked_without_error(room) and room.id not in self._applied]
        joined = await self._links.joined_rooms() if unchecked else set()
        return {room.id for room in unchecked if room.matrix_room_id in joined}

    async def _reconcile_rooms(self, unchecked: Collection[RoomId], until_s: float | None = None) -> dict[str, Room]:
        """Reconcile all rooms; return those that are linked with a Matrix room, by slug.

        Args:
            unchecked: linked rooms that can wait for another pass.
            until_s: the time on the event loop's clock, in seconds, from which on they wait if there is a change; None if
                they wait anyway.
        """
        async with self._database.read_only() as tx:
            rooms = await tx.rooms.all()
        await self._check_links(rooms)
        linked = {}
        for room in rooms:
            if room.archived and room.matrix_room_id is None:
                continue
            reconciled = room
            if room.id not in unchecked or not self._should_wait(until_s):
                with isolated("reconciler", room.slug):
                    reconciled = await self._reconcile_room(room)
            if reconciled.matrix_status is MatrixStatus.LINKED:
                linked[reconciled.slug] = reconciled
        return linked

    def _should_wait(self, until_s: float | None) -> bool:
        if until_s is None:
            return True
        return self._worker.is_woken and asyncio.get_running_loop().time() >= until_s

    async def _check_links(self, rooms: list[Room]) -> None:
        """Every ``_LINK_CHECK_S`` seconds, find rooms whose Matrix room or alias has changed without an event."""
        now_s = asyncio.get_running_loop().time()
        applied = [room for room in rooms if room.id in self._applied and _is_linked_without_error(room)]
        if now_s - self._links_checked_at_s >= _LINK_CHECK_S and applied:
            with isolated("reconciler", "links"):
                self._check_requested |= {room.id for room in await self._links.misplaced(applied)}
            self._links_checked_at_s = now_s

    async def _reconcile_room(self, room: Room) -> Room:
        is_applied = self._applied.get(room.id) == _state(room)
        if _is_linked_without_error(room) and room.id not in self._check_requested and is_applied:
            return room
        # Before the check: a request for another one during the check is about a later change.
        self._check_requested.discard(room.id)
        self._applied.pop(room.id, None)
        reconciled = await self._rooms.reconcile(room)
        self._applied[reconciled.id] = _state(reconciled)
        return reconciled


def _state(room: Room) -> RoomState:
    return room.name, room.description, room.archived


def _is_linked_without_error(room: Room) -> bool:
    return room.matrix_status is MatrixStatus.LINKED and room.matrix_error is None
