"""Confirms events of other servers: only an event that the homeserver returns to clients is handled.

Synapse soft-fails an event that was allowed when it was sent and is not allowed now (server-server API, "Soft
failure"), such as a message from a user who was banned in the meantime. No client gets it, but application services do
(seen in 1.163). So before a batch is handled, and outside the database transaction:

    sender on this homeserver            ─► handled: it was checked against the current state when it was sent
    other message, reaction, redaction   ─► GET /rooms/{id}/event/{id}   found ─► handled   else ─► again, then dropped
    other state event                    ─► GET /rooms/{id}/state/…      the current event of that key is handled instead
    redaction of an unknown event        ─► GET /rooms/{id}/event/{id}   of a state event: as the one above, of any sender

An event that is not shown blocks no other: it is requested again after ``_RETRY_DELAYS_MS``, and then dropped. An invitation
of an agent to a room that is not the city's needs no confirmation: the agent's attempt to join is one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter

from ...city.event_fields import Event, content_of, event_id_of, is_message, sender_of, text, type_of
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import EventId, MatrixRoomId, Room, UserId
from ...errors import DatabaseError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database, Transaction
from ...storage.inbox import InboxRow
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.refusals import is_transient
from .current_state import RoomNotVisible, StateKey, is_absent, may_change_other_state, read_state, state_event_key
from .redacted_state import is_target_unknown, may_redact_state, redacted_states
from .state_differences import StoredState, differences, read_stored_state
from .unconfirmed_rows import UnconfirmedRows

_RETRY_DELAYS_MS: Final = (2_000, 8_000)
"""Milliseconds from each failed request for an event to the next; after the last one the event is dropped. A soft
failure is final: the retries are for a Synapse worker that is behind, and for a redaction that arrives before its
target."""
_MIN_PAUSE_MS: Final = 2_000
_MAX_PAUSE_MS: Final = 15_000
"""Longest pause in milliseconds of a room whose events cannot be confirmed; the pause doubles each time."""
_MIN_EVENTS_FOR_PAGE: Final = 5
"""From this number of events of one room on, a page of its history is requested first."""
_MAX_PAGE_SIZE: Final = 100
_CONCURRENCY: Final = 8
_MAX_GHOST_VIEWERS: Final = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConfirmedState:
    """A state event to handle; ``was_handled`` if it was handled before and is, or is again, the current one."""

    event: Event
    was_handled: bool = False


@dataclass
class ConfirmationResult:
    """Which events of a batch to handle, and which not."""

    rows: list[InboxRow] = field(default_factory=list)
    """The rows to handle now, in order."""
    current_states: dict[int, list[ConfirmedState]] = field(default_factory=dict)
    """The current state events to handle instead of a row's own event, by row id."""
    dropped: list[InboxRow] = field(default_factory=list)
    """The rows whose events were never shown, to be marked as done."""
    paused_until_ms: dict[str, int] = field(default_factory=dict)
    """The times, in milliseconds, before which no event of a room is handled, by Matrix room."""
    failed: dict[int, Exception] = field(default_factory=dict)
    """The error that handling a row raises, by row id."""


@dataclass(frozen=True, slots=True)
class _Retry:
    attempts: int
    due_ms: int


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
        self._retries: dict[str, _Retry] = {}
        """The failed requests for an event, by event id."""
        self._pauses_ms: dict[MatrixRoomId, int] = {}
        """The next pause of a room, in milliseconds, after the homeserver could not answer about its events."""
        self._dropped = Counter(
            "daarion_events_dropped",
            "Events of other servers that the homeserver does not show to clients (soft-failed), and that were not processed.",
            registry=registry,
        )

    def due_ms(self, row: InboxRow) -> int:
        """Return the time of a row's next confirmation, on the clock of ``now_ms``; 0 if it is due."""
        retry = self._retries.get(row.event_id)
        return retry.due_ms if retry else 0

    async def confirm(self, rows: Sequence[InboxRow]) -> ConfirmationResult:
        """Confirm the events of a batch by requests to the homeserver.

        Args:
            rows: inbox rows in order, all of them due.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        unconfirmed = await self._unconfirmed_rows(rows)
        if not unconfirmed:
            return ConfirmationResult(list(rows))
        result = ConfirmationResult()
        visible: set[int] = set()
        for room in await asyncio.gather(*map(self._confirm_room, unconfirmed.keys(), unconfirmed.values())):
            visible |= room.visible
            result.failed |= room.failed
            result.current_states |= room.current_states
            result.paused_until_ms |= room.paused_until_ms
        invisible = {row.id for rows_of_room in unconfirmed.values() for row, *_ in rows_of_room.timeline} - visible
        for row in rows:
            if row.matrix_room_id in result.paused_until_ms:
                continue
            if row.id not in invisible or row.id in result.failed:
                self._retries.pop(row.event_id, None)
                result.rows.append(row)
            elif self._is_last_attempt(row):
                result.dropped.append(row)
        return result

    def log_dropped(self, row: InboxRow) -> None:
        """Count and log a dropped event, after its row was marked as done."""
        self._retries.pop(row.event_id, None)
        self._dropped.inc()
        log.warning(
            "event_dropped",
            event_id=row.event_id,
            room=row.matrix_room_id,
            help="another server sent it and Synapse does not show it to clients (soft-failed), so it is ignored",
        )

    def _is_last_attempt(self, row: InboxRow) -> bool:
        """Return whether this failed request was the last one; schedule the next one otherwise."""
        attempts = self._retries[row.event_id].attempts if row.event_id in self._retries else 0
        if attempts >= len(_RETRY_DELAYS_MS):
            return True
        self._retries[row.event_id] = _Retry(attempts + 1, self._now_ms() + _RETRY_DELAYS_MS[attempts])
        return False

    # --- events to confirm ------------------------------------------------------------------------------------

    async def _unconfirmed_rows(self, rows: Sequence[InboxRow]) -> dict[MatrixRoomId, UnconfirmedRows]:
        events: defaultdict[MatrixRoomId, list[tuple[InboxRow, Event]]] = defaultdict(list)
        for row in rows:
            event = read_row(row)
            is_handled = type_of(event) in self._types or is_message(event)
            if is_handled and (not self._is_confirmed(row, event) or may_redact_state(self._identities, event)):
                events[MatrixRoomId(row.matrix_room_id)].append((row, event))
        found: dict[MatrixRoomId, UnconfirmedRows] = {}
        if events:
            async with self._database.read_only() as tx:
                for matrix_room, of_room in events.items():
                    if unconfirmed := await self._unconfirmed_rows_of(tx, matrix_room, of_room):
                        found[matrix_room] = unconfirmed
        return found

    async def _unconfirmed_rows_of(
        self, tx: Transaction, matrix_room: MatrixRoomId, events: Iterable[tuple[InboxRow, Event]]
    ) -> UnconfirmedRows | None:
        room = await tx.rooms.by_matrix_id(matrix_room) or await tx.rooms.by_former_id(matrix_room)
        if room is None:
            return None
        unconfirmed = UnconfirmedRows(room, ())
        for row, event in events:
            key = state_event_key(event)
            if key is not None:
                if room.agent is None or not self._invites_agent(event):
                    unconfirmed.states.append((row, key, event))
                continue
            if not self._is_confirmed(row, event):
                unconfirmed.timeline.append((row, event))
            is_possible = room.matrix_room_id == matrix_room and room.agent is None
            if is_possible and may_redact_state(self._identities, event) and await is_target_unknown(tx, event):
                unconfirmed.redactions.append((row, event))
        return replace(unconfirmed, viewers=await self._viewers(tx, room)) if unconfirmed.row_ids else None

    async def _viewers(self, tx: Transaction, room: Room) -> list[UserId]:
        """Return the users to send requests as: the room's service user, and ghosts in case it was kicked or banned."""
        service_user = self._identities.service_user(room)
        if room.agent is not None:
            chat_agents = [self._identities.agent(slug) for slug in await tx.direct_chats.agents(room.id)]
            return list(dict.fromkeys([service_user, *chat_agents]))[: _MAX_GHOST_VIEWERS + 1]
        members = await tx.members.of_room(room.id)
        ghosts = [member.user_id for member in members if self._identities.is_ours(member.user_id)]
        return [service_user, *ghosts[:_MAX_GHOST_VIEWERS]]

    def _invites_agent(self, event: Event) -> bool:
        is_invitation = text(content_of(event), "membership") == "invite"
        return is_invitation and self._identities.is_ours(UserId(text(event, "state_key")))

    def _is_confirmed(self, row: InboxRow, event: Event) -> bool:
        return (row.is_confirmed and state_event_key(event) is None) or self._is_local(sender_of(event))

    def _is_local(self, user: UserId) -> bool:
        return user.partition(":")[2] == self._identities.domain

    # --- requests ---------------------------------------------------------------------------------------------

    async def _confirm_room(self, matrix_room: MatrixRoomId, unconfirmed: UnconfirmedRows) -> _RoomResult:
        found = _RoomResult()
        try:
            found.visible = await self._visible_rows(matrix_room, unconfirmed)
            find = partial(self._find_event, matrix_room, viewers=unconfirmed.viewers)
            unconfirmed.states += await redacted_states(unconfirmed, found.visible, find, self._types)
            if unconfirmed.states:
                found.current_states = await self._current_states(matrix_room, unconfirmed)
        except RoomNotVisible:
            # No user of the application service is in the room any more, so its state does not matter.
            found.current_states = {row.id: [] for row, _, _ in unconfirmed.states}
        except HomeserverRefused as error:
            if not is_transient(error):
                # A retry gets the same response, so only these events fail: waiting would block the room forever.
                found.failed = dict.fromkeys(unconfirmed.row_ids, error)
                return found
            pause_ms = self._pauses_ms.get(matrix_room, _MIN_PAUSE_MS)
            self._pauses_ms[matrix_room] = min(2 * pause_ms, _MAX_PAUSE_MS)
            if isinstance(error, HomeserverRateLimited):
                pause_ms = max(pause_ms, error.retry_after_ms)
            log.warning(
                "events_not_confirmed",
                room=unconfirmed.room.slug,
                error=str(error),
                help=f"trying again in {pause_ms} ms",
            )
            found.paused_until_ms = {matrix_room: self._now_ms() + pause_ms}
            return found
        except (HomeserverUnavailable, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 -- only these events fail, as when a handler raises
            found.failed = dict.fromkeys(unconfirmed.row_ids, error)
        self._pauses_ms.pop(matrix_room, None)
        return found

    async def _visible_rows(self, matrix_room: MatrixRoomId, unconfirmed: UnconfirmedRows) -> set[int]:
        ids: set[str] = set()
        if len(unconfirmed.timeline) >= _MIN_EVENTS_FOR_PAGE:
            ids = await self._ids_in_history(matrix_room, len(unconfirmed.timeline), unconfirmed.viewers[0])
        limit = asyncio.Semaphore(_CONCURRENCY)

        async def check(row: InboxRow, event: Event) -> bool:
            async with limit:
                return await self._is_visible(matrix_room, event_id_of(event), unconfirmed.viewers)

        unlisted = [(row, event) for row, event in unconfirmed.timeline if row.event_id not in ids]
        are_visible = await asyncio.gather(*(check(row, event) for row, event in unlisted))
        missing = {row.id for (row, _), is_visible in zip(unlisted, are_visible, strict=True) if not is_visible}
        return {row.id for row, _ in unconfirmed.timeline} - missing

    async def _ids_in_history(self, matrix_room: MatrixRoomId, count: int, viewer: UserId) -> set[str]:
        try:
            page, _ = await self._homeserver.messages_before(
                matrix_room, None, limit=min(2 * count, _MAX_PAGE_SIZE), as_user=viewer
            )
        except HomeserverRefused as error:
            if error.status == 403:
                return set()
            raise
        return {event_id_of(event) for event in page}

    async def _is_visible(self, matrix_room: MatrixRoomId, event: EventId, viewers: Sequence[UserId]) -> bool:
        return await self._find_event(matrix_room, event, viewers) is not None

    async def _find_event(self, matrix_room: MatrixRoomId, event: EventId, viewers: Sequence[UserId]) -> Event | None:
        for viewer in viewers:
            try:
                if (found := await self._homeserver.event(matrix_room, event, as_user=viewer)) is not None:
                    return found
            except HomeserverRefused as error:
                if error.status != 403:
                    raise
        return None

    async def _current_states(
        self, matrix_room: MatrixRoomId, unconfirmed: UnconfirmedRows
    ) -> dict[int, list[ConfirmedState]]:
        """Return the current state events of the rows' keys, and of keys that the rows may have changed, by row id."""
        may_change_more = any(may_change_other_state(event) for _, _, event in unconfirmed.states)
        is_whole_state_needed = unconfirmed.room.agent is None and may_change_more
        stored = await self._stored_state(unconfirmed.room) if is_whole_state_needed else None
        rows: dict[StateKey, list[InboxRow]] = {}
        for row, key, _ in unconfirmed.states:
            rows.setdefault(key, []).append(row)
        current = await read_state(
            self._homeserver, matrix_room, rows, whole=is_whole_state_needed, viewers=unconfirmed.viewers
        )
        current_states: dict[int, list[ConfirmedState]] = {row.id: [] for row, _, _ in unconfirmed.states}
        other_events: list[tuple[InboxRow, Event]] = []
        for row, (event_type, _), event in unconfirmed.states:
            # A visibility that is no longer current still applies to the messages that were sent under it.
            if event_type == "m.room.history_visibility" and event_id_of(event) != event_id_of(
                current.get((event_type, ""))
            ):
                is_visible = await self._is_visible(matrix_room, event_id_of(event), unconfirmed.viewers)
                current_states[row.id] += [ConfirmedState(event)] if is_visible else []
        for key, rows_of_key in rows.items():
            event = current.get(key)
            own_row = next((row for row in rows_of_key if row.event_id == event_id_of(event)), None)
            if own_row is not None:
                current_states[own_row.id].append(ConfirmedState(event))
            else:
                other_events.append((rows_of_key[-1], event))
        if stored is not None:
            changed = differences(self._identities, unconfirmed.room, stored, current)
            other_events += [
                (unconfirmed.states[-1][0], event) for event in changed if state_event_key(event) not in rows
            ]
        handled = await self._handled_before([event for _, event in other_events])
        for row, event in other_events:
            if event_id_of(event) in handled:
                current_states[row.id].append(ConfirmedState(event, was_handled=True))
        return current_states

    async def _stored_state(self, room: Room) -> StoredState:
        async with self._database.read_only() as tx:
            return await read_stored_state(tx, room)

    async def _handled_before(self, events: Sequence[Event]) -> set[EventId]:
        """Return the ids of events that were handled before; add the others to the inbox if they are not there."""
        existing = [event for event in events if not is_absent(event)]
        handled = {event_id_of(event) for event in events if is_absent(event)}
        if existing:
            async with self._database.transaction() as tx:
                await tx.inbox.add([inbox_event(event) for event in existing], now_ms=self._now_ms())
                handled |= set(map(EventId, await tx.inbox.find_processed([event_id_of(event) for event in existing])))
        return handled

    # --- changes without an event -----------------------------------------------------------------------------

    async def refresh(self, room: Room) -> list[ConfirmedState]:
        """Read a city room's current state; return the differences that were handled before, to be handled again now.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the homeserver refuses to return the state.
        """
        if room.agent is not None or room.matrix_room_id is None:
            return []
        async with self._database.read_only() as tx:
            stored, viewers = await read_stored_state(tx, room), await self._viewers(tx, room)
        try:
            current = await read_state(self._homeserver, room.matrix_room_id, (), whole=True, viewers=viewers)
        except RoomNotVisible:
            return []
        events = list(differences(self._identities, room, stored, current))
        handled = await self._handled_before(events)
        return [ConfirmedState(event, was_handled=True) for event in events if event_id_of(event) in handled]


@dataclass
class _RoomResult:
    visible: set[int] = field(default_factory=set)
    current_states: dict[int, list[ConfirmedState]] = field(default_factory=dict)
    paused_until_ms: dict[str, int] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)


def read_row(row: InboxRow) -> Event:
    """Return the event of an inbox row; an empty object if its text is not a JSON object."""
    try:
        event: Any = orjson.loads(row.event)
    except orjson.JSONDecodeError:
        return {}  # The handler fails.
    return event if isinstance(event, dict) else {}
