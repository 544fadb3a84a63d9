"""Backfill of events that other homeservers send late, after a federation link was down.

After such an outage Synapse fetches about ten missed events at once (``get_missing_events``). Events that it backfills
later, when a client reads that far back, are in no transaction and in no ``/sync``: only the room's history has them,
among events that are long known. So the history of a room with users of other servers is read back to its complete
point, soon after an event of such a user and then at doubling intervals:

    complete point ──── known ──── backfilled ──── known ────► now
          └── moves to the newest event of a history that has been the same for some minutes, without missing events

Reading the history makes Synapse backfill, so that the second check at the latest finds a hole.

State resolution may change a room's state without an event that Synapse sends to clients. So each check also requests
``GET /state``: when events were missing, and otherwise at most once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from ...city.event_fields import Event, room_of, sender_of
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import MatrixRoomId, Room, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.monitor import HomeserverMonitor
from .gap_backfill import GapBackfill
from .late_events import LateEventWriter
from .metrics import Missed
from .room_history import RoomHistories

_CHECK_DELAY_MS: Final = 1_500
"""Milliseconds from an event of another server to the check: by then Synapse has requested the events that it lacks."""
_MIN_INTERVAL_MS: Final = 5_000
"""Milliseconds between the first two checks, doubled each time."""
_MAX_INTERVAL_MS: Final = 3_600_000
_STABLE_MS: Final = 240_000
"""Milliseconds for which a history must be unchanged to count as complete: longer than a server restart takes."""
_STATE_INTERVAL_MS: Final = 60_000
"""Milliseconds between two requests for a room's state: the response has some 100 KB for a thousand members."""
_POLL_S: Final = 0.5
_CONCURRENCY: Final = 4
_UNAVAILABLE_PAUSE_S: Final = 1.0
_RETRY_S: Final = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class _CheckedRoom:
    """A room with users of other servers."""

    due_ms: int
    interval_ms: int = _MIN_INTERVAL_MS
    seen: list[str] | None = None
    """The ids of the room's events since the complete point, as of ``seen_at_ms``."""
    seen_at_ms: int = 0
    state_due_ms: int = 0
    """The time from which the next check of the room reads its state, too."""


@dataclass(frozen=True, slots=True)
class HistoryCheckResult:
    """The result of a check of a room's history."""

    point: str | None
    """The id of the event that becomes the complete point; None if that does not move."""
    seen: list[str]
    seen_at_ms: int


def compare_history(
    events: list[str], seen: list[str] | None, seen_at_ms: int, now_ms: int, *, has_point: bool
) -> HistoryCheckResult:
    """Decide whether a room's complete point moves.

    Args:
        events: the ids of the events since the complete point, oldest first.
        seen: the ids at an earlier check; None without one.
        seen_at_ms: the time of that check, in milliseconds.
        now_ms: the current time, in milliseconds.
        has_point: whether the room has a complete point.
    """
    if not has_point:
        return HistoryCheckResult(events[0] if events else None, events[1:], now_ms)
    if seen is None or events[: len(seen)] != seen:
        return HistoryCheckResult(None, events, now_ms)
    if not seen:
        return HistoryCheckResult(None, events, now_ms)
    if now_ms - seen_at_ms < _STABLE_MS:
        return HistoryCheckResult(None, seen, seen_at_ms)
    return HistoryCheckResult(seen[-1], events[len(seen) :], now_ms)


class FederatedHistoryChecks:
    """Checks the histories of rooms with users of other servers, for as long as this process is the leader."""

    def __init__(
        self,
        histories: RoomHistories,
        gap_backfill: GapBackfill,
        late_events: LateEventWriter,
        database: Database,
        monitor: HomeserverMonitor,
        identities: Identities,
        refresh_state: Callable[[Room], Awaitable[None]],
        now_ms: NowMs,
    ) -> None:
        """Create the checker.

        Args:
            refresh_state: reads the current state of a Matrix room and applies it to the city room.
        """
        self._refresh_state = refresh_state
        self._histories = histories
        self._gap_backfill = gap_backfill
        self._late_events = late_events
        self._database = database
        self._monitor = monitor
        self._identities = identities
        self._now_ms = now_ms
        self._rooms: dict[MatrixRoomId, _CheckedRoom] = {}
        self._running: set[MatrixRoomId] = set()
        self._is_listed = False
        gap_backfill.on_missing(self._request_state_check)

    def on_event(self, event: Event) -> None:
        """Check the room of an event of another server soon: events before it may be missing."""
        if not sender_of(event).endswith(f":{self._identities.domain}"):
            self.check_soon(room_of(event))

    def check_soon(self, room: MatrixRoomId) -> None:
        """Check a room's history soon, and often for a while."""
        due_ms = self._now_ms() + _CHECK_DELAY_MS
        schedule = self._rooms.setdefault(room, _CheckedRoom(due_ms))
        schedule.interval_ms = _MIN_INTERVAL_MS
        schedule.due_ms = min(schedule.due_ms, due_ms)

    def _request_state_check(self, room: MatrixRoomId) -> None:
        """Read the state of a room soon: events were missing, and a state event may have been among them."""
        if schedule := self._rooms.get(room):
            schedule.state_due_ms = self._now_ms()
            self.check_soon(room)

    async def run(self) -> None:
        """Check the rooms that are due until cancelled. A later call starts from the stored complete points."""
        self._rooms.clear()
        self._running.clear()
        self._is_listed = False
        async with asyncio.TaskGroup() as tasks:
            worker = Worker("federated_histories", idle_s=_POLL_S, monitor=self._monitor)
            await worker.run(partial(self._check_due, tasks))

    async def _check_due(self, tasks: asyncio.TaskGroup) -> None:
        if not self._is_listed:
            await self._schedule_all()
            self._is_listed = True
        for matrix_room, room in (await self._rooms_of(self._due())).items():
            self._running.add(matrix_room)
            tasks.create_task(self._check_isolated(matrix_room, room))

    async def _schedule_all(self) -> None:
        """Check the rooms and direct chats that have users of other servers when this process becomes the leader."""
        with isolated("federated_histories", "list"):
            async with self._database.read_only() as tx:
                for room in await tx.members.rooms_with_others(self._identities.domain):
                    self.check_soon(room)
                for chat in await tx.direct_chats.linked():
                    if chat.matrix_room_id and not chat.name.endswith(f":{self._identities.domain}"):
                        self.check_soon(chat.matrix_room_id)

    def _due(self) -> list[MatrixRoomId]:
        now_ms = self._now_ms()
        due = [
            room for room, schedule in self._rooms.items() if schedule.due_ms <= now_ms and room not in self._running
        ]
        return due[: max(0, _CONCURRENCY - len(self._running))]

    async def _rooms_of(self, due: list[MatrixRoomId]) -> dict[MatrixRoomId, Room]:
        """Return the city's rooms and chats by Matrix room id; stop watching Matrix rooms that have none any more."""
        found: dict[MatrixRoomId, Room] = {}
        for matrix_room in due:
            room: Room | None = None
            # A room that cannot be read from the database is not checked until an event arrives in it.
            with isolated("federated_histories", matrix_room):
                async with self._database.read_only() as tx:
                    room = await tx.rooms.by_matrix_id(matrix_room) or await tx.rooms.by_former_id(matrix_room)
            if room is None or _is_closed_chat(room):
                del self._rooms[matrix_room]
            else:
                found[matrix_room] = room
        return found

    async def _check_isolated(self, matrix_room: MatrixRoomId, room: Room) -> None:
        schedule = self._rooms[matrix_room]
        try:
            missing = 0
            with isolated("federated_histories", matrix_room):
                missing = await self._check(matrix_room, self._identities.service_user(room), schedule)
                await self._check_state(matrix_room, room, schedule)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            schedule.due_ms = self._now_ms() + int(_UNAVAILABLE_PAUSE_S * 1000)
        except HomeserverRefused as error:
            log.debug("history_refused", room=matrix_room, error=str(error))
            self._schedule_next(schedule)
        except DatabaseError as error:
            log.warning("histories_unavailable", error=str(error), help="the database does not answer; trying again")
            schedule.due_ms = self._now_ms() + int(_RETRY_S * 1000)
        else:
            if missing:
                schedule.interval_ms = _MIN_INTERVAL_MS
            self._schedule_next(schedule)
        finally:
            self._running.discard(matrix_room)

    async def _check_state(self, matrix_room: MatrixRoomId, room: Room, schedule: _CheckedRoom) -> None:
        if room.matrix_room_id != matrix_room or self._now_ms() < schedule.state_due_ms:
            return
        # Set before the request: `_request_state_check` may make it due again while the request runs.
        schedule.state_due_ms = self._now_ms() + _STATE_INTERVAL_MS
        try:
            await self._refresh_state(room)
        except Exception:
            schedule.state_due_ms = 0
            raise

    def _schedule_next(self, schedule: _CheckedRoom) -> None:
        schedule.due_ms = self._now_ms() + schedule.interval_ms
        schedule.interval_ms = min(schedule.interval_ms * 2, _MAX_INTERVAL_MS)

    async def _check(self, room: MatrixRoomId, service_user: UserId, schedule: _CheckedRoom) -> int:
        async with self._database.read_only() as tx:
            point = await tx.watermarks.point(room)
        if point is None:
            history = await self._gap_backfill.first_range(room, service_user)
        else:
            history = await self._histories.read_after(room, point, as_user=service_user)
        await self._gap_backfill.await_delivery([history])
        result = await self._gap_backfill.store(history)
        has_point = point is not None and not history.is_first
        check = compare_history(result.ids, schedule.seen, schedule.seen_at_ms, self._now_ms(), has_point=has_point)
        schedule.seen, schedule.seen_at_ms = check.seen, check.seen_at_ms
        if check.point is not None:
            async with self._database.transaction() as tx:
                await tx.watermarks.put_point(room, check.point)
        self._late_events.publish(Missed.FEDERATION, {room: result.missing})
        return result.missing


def _is_closed_chat(room: Room) -> bool:
    return room.agent is not None and room.archived
