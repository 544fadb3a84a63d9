"""Confirms events of other servers: only an event that the homeserver returns to clients is handled.

Synapse soft-fails an event that was allowed when it was sent and is not allowed now (server-server API, "Soft
failure"), such as a message from a user who was banned in the meantime. No client gets it, but application services do
(seen in 1.163). So before a batch is handled, and outside the database transaction:

    sender on this homeserver            ─► handled: it was checked against the current state when it was sent
    other message, reaction, redaction   ─► GET /rooms/{id}/event/{id}   found ─► handled   else ─► again, then dropped
    other state event                    ─► GET /rooms/{id}/state/…      the current event of that key is handled instead

An event that is not shown blocks no other: it is requested again after ``_LOOKS_MS``, and then dropped. An invitation
of an agent to a room that is not the city's needs no confirmation: the agent's attempt to join is one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter

from ...city.event_fields import Event, content_of, event_id_of, sender_of, text, type_of
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import EventId, MatrixRoomId, Room, UserId
from ...errors import DatabaseError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database, Transaction
from ...storage.inbox import InboxRow
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.refusals import is_transient
from .current_state import NotShown, StateKey, is_absent, key_of, may_unsettle, read_state
from .state_differences import Known, differences, read_known

_LOOKS_MS: Final = (2_000, 8_000)
"""Milliseconds from each failed request for an event to the next; after the last one the event is dropped. A soft
failure is final: the retries are for a Synapse worker that is behind, and for a redaction that arrives before its
target."""
_FIRST_PAUSE_MS: Final = 2_000
_LONGEST_PAUSE_MS: Final = 60_000
"""Longest pause in milliseconds of a room whose events cannot be confirmed; the pause doubles each time."""
_PAGE_FROM: Final = 5
"""From this number of events of one room on, a page of its history is requested first."""
_MAX_PAGE: Final = 100
_AT_ONCE: Final = 8
_SPARE_VIEWERS: Final = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConfirmedState:
    """A state event to handle; ``is_again`` if it was handled before and is, or is again, the current one."""

    event: Event
    is_again: bool = False


@dataclass
class ConfirmationResult:
    """Which events of a batch to handle, and which not."""

    rows: list[InboxRow] = field(default_factory=list)
    """The rows to handle now, in order."""
    instead: dict[int, list[ConfirmedState]] = field(default_factory=dict)
    """The current state events to handle instead of a row's own event, by row id."""
    dropped: list[InboxRow] = field(default_factory=list)
    """The rows whose events were never shown, to be marked as done."""
    held_until_ms: dict[str, int] = field(default_factory=dict)
    """The times, in milliseconds, before which no event of a room is handled, by Matrix room."""
    failed: dict[int, Exception] = field(default_factory=dict)
    """The error that handling a row raises, by row id."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    looks: int
    due_ms: int


@dataclass(slots=True)
class _Doubtful:
    """Rows of one room with events of other servers."""

    room: Room
    viewers: Sequence[UserId]
    said: list[tuple[InboxRow, Event]] = field(default_factory=list)
    states: list[tuple[InboxRow, StateKey, Event]] = field(default_factory=list)

    @property
    def row_ids(self) -> list[int]:
        return [*(row.id for row, _ in self.said), *(row.id for row, _, _ in self.states)]


class Confirmation:
    """Confirms batches of events; the retries are in memory only, and start again after a restart."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        types: Collection[str],
        registry: CollectorRegistry,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._types = types
        """The event types that have a handler."""
        self._now_ms = now_ms
        self._doubts: dict[str, _Doubt] = {}
        """The failed requests for an event, by event id."""
        self._pauses_ms: dict[MatrixRoomId, int] = {}
        """The next pause of a room, in milliseconds, after the homeserver could not answer about its events."""
        self._dropped = Counter(
            "daarion_events_dropped",
            "Events of other servers that the homeserver shows to nobody (soft-failed), and that were not handled.",
            registry=registry,
        )

    def due_ms(self, row: InboxRow) -> int:
        """Return the time of a row's next confirmation, on the clock of ``now_ms``; 0 if it is due."""
        doubt = self._doubts.get(row.event_id)
        return doubt.due_ms if doubt else 0

    async def confirm(self, rows: Sequence[InboxRow]) -> ConfirmationResult:
        """Confirm the events of a batch by requests to the homeserver.

        Args:
            rows: inbox rows in order, all of them due.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        doubtful = await self._doubtful(rows)
        if not doubtful:
            return ConfirmationResult(list(rows))
        look = ConfirmationResult()
        shown: set[int] = set()
        for room in await asyncio.gather(*(self._look_at(matrix_room, of) for matrix_room, of in doubtful.items())):
            shown |= room.shown
            look.failed |= room.failed
            look.instead |= room.instead
            look.held_until_ms |= room.held_until_ms
        unsure = {row.id for of in doubtful.values() for row, *_ in of.said} - shown
        for row in rows:
            if row.matrix_room_id in look.held_until_ms:
                continue
            if row.id not in unsure or row.id in look.failed:
                self._doubts.pop(row.event_id, None)
                look.rows.append(row)
            elif self._is_over(row):
                look.dropped.append(row)
        return look

    def note_dropped(self, row: InboxRow) -> None:
        """Count and log a dropped event, after its row was marked as done."""
        self._doubts.pop(row.event_id, None)
        self._dropped.inc()
        log.warning(
            "event_dropped",
            event_id=row.event_id,
            room=row.matrix_room_id,
            help="another server sent it and Synapse shows it to nobody (soft-failed), so it does not count",
        )

    def _is_over(self, row: InboxRow) -> bool:
        """Return whether this failed request was the last one; schedule the next one otherwise."""
        looks = self._doubts[row.event_id].looks if row.event_id in self._doubts else 0
        if looks >= len(_LOOKS_MS):
            return True
        self._doubts[row.event_id] = _Doubt(looks + 1, self._now_ms() + _LOOKS_MS[looks])
        return False

    # --- events to confirm ------------------------------------------------------------------------------------

    async def _doubtful(self, rows: Sequence[InboxRow]) -> dict[MatrixRoomId, _Doubtful]:
        events: defaultdict[MatrixRoomId, list[tuple[InboxRow, Event]]] = defaultdict(list)
        for row in rows:
            event = read_row(row)
            is_shown = row.is_confirmed and key_of(event) is None
            if type_of(event) in self._types and not is_shown and not self._is_local(sender_of(event)):
                events[MatrixRoomId(row.matrix_room_id)].append((row, event))
        found: dict[MatrixRoomId, _Doubtful] = {}
        if events:
            async with self._database.reading() as tx:
                for matrix_room, of_room in events.items():
                    if doubtful := await self._of_room(tx, matrix_room, of_room):
                        found[matrix_room] = doubtful
        return found

    async def _of_room(
        self, tx: Transaction, matrix_room: MatrixRoomId, events: Iterable[tuple[InboxRow, Event]]
    ) -> _Doubtful | None:
        room = await tx.rooms.by_matrix_id(matrix_room) or await tx.rooms.by_former_id(matrix_room)
        if room is None:
            return None
        doubtful = _Doubtful(room, await self._viewers(tx, room))
        for row, event in events:
            key = key_of(event)
            if key is None:
                doubtful.said.append((row, event))
            elif room.agent is None or not self._invites_agent(event):
                doubtful.states.append((row, key, event))
        return doubtful

    async def _viewers(self, tx: Transaction, room: Room) -> list[UserId]:
        """Return the users to send requests as: the room's service user, and ghosts in case it was kicked or banned."""
        keeper = self._identities.service_user(room)
        members = await tx.members.of_room(room.id) if room.agent is None else []
        ghosts = [member.user_id for member in members if self._identities.is_ours(member.user_id)]
        return [keeper, *ghosts[:_SPARE_VIEWERS]]

    def _invites_agent(self, event: Event) -> bool:
        is_invitation = text(content_of(event), "membership") == "invite"
        return is_invitation and self._identities.is_ours(UserId(text(event, "state_key")))

    def _is_local(self, user: UserId) -> bool:
        return user.partition(":")[2] == self._identities.domain

    # --- requests ---------------------------------------------------------------------------------------------

    async def _look_at(self, matrix_room: MatrixRoomId, doubtful: _Doubtful) -> _RoomLook:
        found = _RoomLook()
        try:
            found.shown = await self._shown(matrix_room, doubtful)
            if doubtful.states:
                found.instead = await self._stated(matrix_room, doubtful)
        except NotShown:
            # No user of the application service is in the room any more, so its state does not matter.
            found.instead = {row.id: [] for row, _, _ in doubtful.states}
        except HomeserverRefused as error:
            if not is_transient(error):
                # A retry gets the same response, so only these events fail: waiting would block the room for ever.
                found.failed = dict.fromkeys(doubtful.row_ids, error)
                return found
            pause_ms = self._pauses_ms.get(matrix_room, _FIRST_PAUSE_MS)
            self._pauses_ms[matrix_room] = min(2 * pause_ms, _LONGEST_PAUSE_MS)
            if isinstance(error, HomeserverRateLimited):
                pause_ms = max(pause_ms, error.retry_after_ms)
            log.warning(
                "events_not_confirmed", room=doubtful.room.slug, error=str(error), help=f"trying again in {pause_ms} ms"
            )
            found.held_until_ms = {matrix_room: self._now_ms() + pause_ms}
            return found
        except (HomeserverUnavailable, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 -- only these events fail, as when a handler raises
            found.failed = dict.fromkeys(doubtful.row_ids, error)
        self._pauses_ms.pop(matrix_room, None)
        return found

    async def _shown(self, matrix_room: MatrixRoomId, doubtful: _Doubtful) -> set[int]:
        ids: set[str] = set()
        if len(doubtful.said) >= _PAGE_FROM:
            ids = await self._in_history(matrix_room, len(doubtful.said), doubtful.viewers[0])
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(row: InboxRow, event: Event) -> bool:
            async with slots:
                return await self._is_shown(matrix_room, event_id_of(event), doubtful.viewers)

        asked = [(row, event) for row, event in doubtful.said if row.event_id not in ids]
        answers = await asyncio.gather(*(one(row, event) for row, event in asked))
        missing = {row.id for (row, _), is_shown in zip(asked, answers, strict=True) if not is_shown}
        return {row.id for row, _ in doubtful.said} - missing

    async def _in_history(self, matrix_room: MatrixRoomId, count: int, viewer: UserId) -> set[str]:
        try:
            page, _ = await self._homeserver.messages_before(
                matrix_room, None, limit=min(2 * count, _MAX_PAGE), as_user=viewer
            )
        except HomeserverRefused as error:
            if error.status == 403:
                return set()
            raise
        return {event_id_of(event) for event in page}

    async def _is_shown(self, matrix_room: MatrixRoomId, event: EventId, viewers: Sequence[UserId]) -> bool:
        for viewer in viewers:
            try:
                if await self._homeserver.event(matrix_room, event, as_user=viewer) is not None:
                    return True
            except HomeserverRefused as error:
                if error.status != 403:
                    raise
        return False

    async def _stated(self, matrix_room: MatrixRoomId, doubtful: _Doubtful) -> dict[int, list[ConfirmedState]]:
        """Return the current state events of the rows' keys, and of keys that the rows may have changed, by row id."""
        is_unsettled = doubtful.room.agent is None and any(may_unsettle(event) for _, _, event in doubtful.states)
        known = await self._known(doubtful.room) if is_unsettled else None
        rows: dict[StateKey, list[InboxRow]] = {}
        for row, key, _ in doubtful.states:
            rows.setdefault(key, []).append(row)
        current = await read_state(self._homeserver, matrix_room, rows, whole=is_unsettled, viewers=doubtful.viewers)
        instead: dict[int, list[ConfirmedState]] = {row.id: [] for row, _, _ in doubtful.states}
        others: list[tuple[InboxRow, Event]] = []
        for row, (event_type, _), event in doubtful.states:
            # A visibility that is no longer current still applies to the messages that were sent under it.
            if event_type == "m.room.history_visibility" and event_id_of(event) != event_id_of(
                current.now((event_type, ""))
            ):
                is_shown = await self._is_shown(matrix_room, event_id_of(event), doubtful.viewers)
                instead[row.id] += [ConfirmedState(event)] if is_shown else []
        for key, of_key in rows.items():
            event = current.now(key)
            own = next((row for row in of_key if row.event_id == event_id_of(event)), None)
            if own is not None:
                instead[own.id].append(ConfirmedState(event))
            else:
                others.append((of_key[-1], event))
        if known is not None:
            more = differences(self._identities, doubtful.room, known, current)
            others += [(doubtful.states[-1][0], event) for event in more if key_of(event) not in rows]
        again = await self._again([event for _, event in others])
        for row, event in others:
            if event_id_of(event) in again:
                instead[row.id].append(ConfirmedState(event, is_again=True))
        return instead

    async def _known(self, room: Room) -> Known:
        async with self._database.reading() as tx:
            return await read_known(tx, room)

    async def _again(self, events: Sequence[Event]) -> set[EventId]:
        """Return the ids of events that were handled before; add the others to the inbox if they are not there."""
        there = [event for event in events if not is_absent(event)]
        again = {event_id_of(event) for event in events if is_absent(event)}
        if there:
            async with self._database.transaction() as tx:
                await tx.inbox.add([inbox_event(event) for event in there], now_ms=self._now_ms())
                again |= set(map(EventId, await tx.inbox.handled([event_id_of(event) for event in there])))
        return again

    # --- changes without an event -----------------------------------------------------------------------------

    async def refresh(self, room: Room) -> list[ConfirmedState]:
        """Read a city room's current state; return the differences that were handled before, to be handled again now.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the homeserver refuses to return the state.
        """
        if room.agent is not None or room.matrix_room_id is None:
            return []
        async with self._database.reading() as tx:
            known, viewers = await read_known(tx, room), await self._viewers(tx, room)
        try:
            current = await read_state(self._homeserver, room.matrix_room_id, (), whole=True, viewers=viewers)
        except NotShown:
            return []
        events = list(differences(self._identities, room, known, current))
        again = await self._again(events)
        return [ConfirmedState(event, is_again=True) for event in events if event_id_of(event) in again]


@dataclass
class _RoomLook:
    shown: set[int] = field(default_factory=set)
    instead: dict[int, list[ConfirmedState]] = field(default_factory=dict)
    held_until_ms: dict[str, int] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)


def read_row(row: InboxRow) -> Event:
    """Return the event of an inbox row; an empty object if its text is not a JSON object."""
    try:
        event: Any = orjson.loads(row.event)
    except orjson.JSONDecodeError:
        return {}  # The handler fails.
    return event if isinstance(event, dict) else {}
