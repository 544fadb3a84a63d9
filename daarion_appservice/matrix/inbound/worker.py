"""The worker that processes the inbox: each event exactly once, in order within a room.

The worker reads waiting rows in batches. One database transaction handles a batch and marks its rows as done; the city
events are published after the commit, so a crash before the commit changes nothing. When one event of a batch fails,
the transaction is rolled back and the events are handled in a transaction each. The failing event is retried with
exponential backoff while later events of its room wait; after ``MAX_ATTEMPTS`` attempts it becomes a dead letter and
its room continues.

The homeserver may lose undelivered events when it restarts. So at the start, and after each time that it was
unavailable, the worker waits until ``GapBackfill`` has put the missing events into the inbox.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Final

import orjson
import structlog

from ...city.background_parsing import MAX_INLINE_CHARS, parsed_ahead
from ...city.event_fields import Event, type_of
from ...city.events import CityEvent
from ...city.ports import NowMs, Publish, publish_all
from ...city.types import MatrixRoomId, MessageId, Room
from ...realtime.message_steps import STORED_EVENTS
from ...realtime.worker import Worker
from ...storage.database import Database, Transaction
from ...storage.inbox import MAX_CHARS, InboxRow
from ..backfill.gap_backfill import GapBackfill
from ..backfill.metrics import Missed
from ..client.monitor import HomeserverMonitor
from .confirmation import Confirmation, ConfirmationResult, read_row
from .dispatch import EventHandlers
from .metrics import DELAY_SECONDS, FAILURES, FailureResult, HandlerTimes

MAX_ATTEMPTS: Final = 6
_MIN_RETRY_MS: Final = 250
"""Milliseconds until the first retry, doubled each time: an event that never succeeds blocks its room for 8 seconds."""
_BATCH: Final = 100
_MAX_WAIT_MS: Final = 2_000
"""Milliseconds between two reads of the inbox without a call of `wake`: another process may write to it."""
_PRUNE_INTERVAL_MS: Final = 3_600_000
log = structlog.get_logger()


class InboundWorker:
    """Processes the inbox of the leader, and lets other tasks pause single rooms (`paused`)."""

    def __init__(
        self,
        database: Database,
        handlers: EventHandlers,
        monitor: HomeserverMonitor,
        gap_backfill: GapBackfill,
        confirmation: Confirmation,
        publish: Publish,
        now_ms: NowMs,
        *,
        on_event: Callable[[Event], None] = lambda _: None,
        keep_days: int = 30,
    ) -> None:
        """Build the worker.

        Args:
            handlers: handle the events.
            monitor: the state of the homeserver.
            gap_backfill: fetches missing events.
            confirmation: confirms events of other servers.
            publish: publishes city events.
            now_ms: the clock, in milliseconds since 1970.
            on_event: is called with each event before it is handled; it must not block or raise.
            keep_days: for how many days the inbox remembers the id of a handled event. Synapse repeats transactions in order
                and one at a time, so it sends an acknowledged event again only when its database was restored from a backup.
        """
        self._database = database
        self._handlers = handlers
        self._handler_times = HandlerTimes(handlers.types)
        self._monitor = monitor
        self._gap_backfill = gap_backfill
        self._confirmation = confirmation
        self._publish = publish
        self._now_ms = now_ms
        self._on_event = on_event
        self._inbox_lock = gap_backfill.inbox_lock
        self._paused_rooms: Counter[str] = Counter()
        self._worker = Worker("inbound", idle_s=_MAX_WAIT_MS / 1000, monitor=monitor)
        self._pruned_at_ms = 0
        self._keep_done_ms = keep_days * 24 * 3_600_000
        self._backfilled_absence: int | None = None
        """The count of the homeserver's absences up to which all gaps are filled; None before the first backfill."""
        self._is_backfilled = False
        self._unconfirmed_until_ms: dict[str, int] = {}
        """The rooms whose events cannot be confirmed now, with the time of the next attempt in milliseconds."""
        monitor.on_return(self.wake)

    def wake(self) -> None:
        """Have the worker read the inbox now."""
        self._worker.wake()

    @asynccontextmanager
    async def paused(self, matrix_room: MatrixRoomId) -> AsyncIterator[None]:
        """Pause the handling of a room's events during the block, so that earlier events can be put before them."""
        self._paused_rooms[matrix_room] += 1
        try:
            async with self._inbox_lock:
                pass  # The batch that was being handled is committed.
            yield
        finally:
            self._paused_rooms[matrix_room] -= 1
            self._paused_rooms += Counter()  # Removes the rooms whose count is zero.
            self.wake()

    async def refresh_state(self, room: Room) -> None:
        """Read a room's current state from the homeserver and apply the differences to the city's room.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the homeserver refuses to return the state.
        """
        if room.matrix_room_id is None:
            return
        async with self.paused(room.matrix_room_id):
            states = await self._confirmation.refresh(room)
            if not states:
                return
            async with self._database.transaction() as tx:
                results = [await self._handlers.handle_restored_state(tx, each.event) for each in states]
        publish_all(self._publish, chain.from_iterable(results))

    async def run(self) -> None:
        """Process the inbox until cancelled; each call fills gaps first, as another leader may have missed events."""
        self._backfilled_absence, self._is_backfilled = None, False
        await self._worker.run(self._process)

    async def _process(self) -> float:
        """Fill gaps, and handle the events that are due; return the longest time until the next step, in seconds."""
        await self._fill_gaps()
        async with self._inbox_lock:
            retry_at_ms = await self._handle_due()
        await self._prune()
        wait_ms = _MAX_WAIT_MS if retry_at_ms is None else min(_MAX_WAIT_MS, retry_at_ms - self._now_ms())
        return wait_ms / 1000

    @property
    def is_catching_up(self) -> bool:
        """Whether the inbox waits until missing events are fetched. Always true where this process does not lead."""
        return self._may_have_gaps

    @property
    def _may_have_gaps(self) -> bool:
        return self._backfilled_absence != self._monitor.absences

    async def _fill_gaps(self) -> None:
        while self._may_have_gaps:
            await self._monitor.wait_up()
            absence = self._monitor.absences
            await self._gap_backfill.run(Missed.ABSENCE if self._is_backfilled else Missed.START)
            self._is_backfilled = True
            self._backfilled_absence = absence
            # What was wrong with the homeserver may be over.
            self._unconfirmed_until_ms.clear()

    async def _handle_due(self) -> int | None:
        """Handle all events that are due; return the time of the next retry in milliseconds, or None without one."""
        after_id = 0
        now_ms = self._now_ms()
        self._unconfirmed_until_ms = {
            room: at_ms for room, at_ms in self._unconfirmed_until_ms.items() if at_ms > now_ms
        }
        retry_at_by_room = dict(self._unconfirmed_until_ms)
        skipped_rooms: set[str] = set()
        while True:
            if self._may_have_gaps:
                return self._now_ms()
            async with self._database.read_only() as tx:
                rows = await tx.inbox.waiting(after_id=after_id, limit=_BATCH)
            if not rows:
                return min(retry_at_by_room.values(), default=None)
            after_id = rows[-1].id
            now_ms = self._now_ms()
            for row in rows:
                if row.retry_at_ms > now_ms:
                    retry_at_by_room.setdefault(row.matrix_room_id, row.retry_at_ms)
            # A pause may end while a batch is handled: what was skipped has to be handled before the rest of the room.
            skipped_rooms |= self._paused_rooms.keys()
            ready = [row for row in rows if row.matrix_room_id not in skipped_rooms | retry_at_by_room.keys()]
            batch = await self._confirm(ready, retry_at_by_room)
            await self._drop(batch.dropped)
            await self._handle_all(batch, retry_at_by_room)
            if _are_all(rows) and not batch.current_states:
                # Events that are stored meanwhile wake the worker again, except those that a confirmation stores.
                return min(retry_at_by_room.values(), default=None)

    async def _confirm(self, rows: list[InboxRow], retry_at_by_room: dict[str, int]) -> ConfirmationResult:
        """Return the events of the batch to handle now; one whose confirmation is due later does not block its room."""
        now_ms = self._now_ms()
        due = {row.id: self._confirmation.due_ms(row) for row in rows}
        batch = await self._confirmation.confirm([row for row in rows if due[row.id] <= now_ms])
        self._unconfirmed_until_ms |= batch.paused_until_ms
        retry_at_by_room |= batch.paused_until_ms
        return batch

    async def _drop(self, rows: list[InboxRow]) -> None:
        if not rows:
            return
        try:
            async with self._database.transaction() as tx:
                await _mark_done(tx, rows)
        except _RowsChanged:
            log.debug("inbox_changed", event_id=rows[0].event_id)
            return
        for row in rows:
            self._confirmation.log_dropped(row)

    async def _handle_all(self, batch: ConfirmationResult, retry_at_by_room: dict[str, int]) -> None:
        """Parse the texts of a batch before its transaction, so that no other one waits for the parsing."""
        if not batch.rows:
            return
        events = [read_row(row) for row in batch.rows if row.id not in batch.current_states]
        await self._handlers.receive_keys(events)
        edited_early = {row.event_id for row in batch.rows if row.is_edited_early}
        is_short = not edited_early and sum(len(row.event) for row in batch.rows) <= MAX_INLINE_CHARS
        texts = self._handlers.texts.of_new(events) if is_short else None
        if texts is None:
            is_short = False
            async with self._database.read_only() as tx:
                texts = await self._handlers.texts.of_all(tx, events, edited_early)
        async with parsed_ahead(texts, is_short=is_short):
            if not await self._handle_batch(batch):
                await self._handle_each(batch, retry_at_by_room)

    async def _handle_batch(self, batch: ConfirmationResult) -> bool:
        """Handle a batch in one transaction; return False, after a rollback, if an event fails."""
        try:
            async with self._database.transaction() as tx:
                await _mark_done(tx, batch.rows)
                city_events = [event for row in batch.rows for event in await self._handle(tx, row, batch)]
        except Exception:  # noqa: BLE001 -- handling one by one finds the failing event, or that the database is down
            return False
        _record_delays(batch.rows)
        publish_all(self._publish, city_events)
        return True

    async def _handle_each(self, batch: ConfirmationResult, retry_at_by_room: dict[str, int]) -> None:
        for row in batch.rows:
            if row.matrix_room_id in retry_at_by_room:
                continue
            try:
                async with self._database.transaction() as tx:
                    await _mark_done(tx, [row])
                    city_events = await self._handle(tx, row, batch)
            except _RowsChanged:
                log.debug("inbox_changed", event_id=row.event_id)
            except Exception as error:  # noqa: BLE001 -- one event must not stop the others
                retry_at_ms = await self._failed(row, error)
                if retry_at_ms is not None:
                    retry_at_by_room[row.matrix_room_id] = retry_at_ms
            else:
                _record_delays([row])
                publish_all(self._publish, city_events)

    async def _handle(self, tx: Transaction, row: InboxRow, batch: ConfirmationResult) -> list[CityEvent]:
        if error := batch.failed.get(row.id):
            raise error
        if row.id not in batch.current_states:
            event = orjson.loads(row.event)
            self._on_event(event)
            before = MessageId(row.before_message) if row.before_message else None
            with self._handler_times.measured(type_of(event)):
                return await self._handlers.handle(tx, event, before=before)
        city_events: list[CityEvent] = []
        for state in batch.current_states[row.id]:
            self._on_event(state.event)
            handle = self._handlers.handle_restored_state if state.was_handled else self._handlers.handle
            with self._handler_times.measured(type_of(state.event)):
                city_events += await handle(tx, state.event)
        return city_events

    async def _failed(self, row: InboxRow, error: Exception) -> int | None:
        attempts = row.attempts + 1
        reason = f"{type(error).__name__}: {error}"[:1000]
        retry_at_ms = None if attempts >= MAX_ATTEMPTS else self._now_ms() + _MIN_RETRY_MS * 2 ** (attempts - 1)
        # If the database is down, this raises as well, and the attempt is not counted.
        async with self._database.transaction() as tx:
            await tx.inbox.record_failure(row, reason, retry_at_ms=retry_at_ms)
        FAILURES.labels(FailureResult.DEAD if retry_at_ms is None else FailureResult.RETRY).inc()
        if retry_at_ms is None:
            log.error(
                "event_dead",
                event_id=row.event_id,
                room=row.matrix_room_id,
                error=reason,
                help="stored as a dead letter: see `daarion-appservice dead-letter list`",
                exc_info=error,
            )
        else:
            log.warning("event_failed", event_id=row.event_id, attempts=attempts, error=reason)
        return retry_at_ms

    async def _prune(self) -> None:
        now_ms = self._now_ms()
        if now_ms - self._pruned_at_ms < _PRUNE_INTERVAL_MS:
            return
        self._pruned_at_ms = now_ms
        async with self._database.transaction() as tx:
            await tx.inbox.prune(before_ms=now_ms - self._keep_done_ms)


class _RowsChanged(Exception):
    """Another process handled a row that was read, or its position changed: it has to be read again."""


def _are_all(rows: list[InboxRow]) -> bool:
    """Return whether no more rows waited when these were read."""
    return len(rows) < _BATCH and sum(len(row.event) for row in rows) < MAX_CHARS


async def _mark_done(tx: Transaction, rows: list[InboxRow]) -> None:
    """Mark rows as done before they are handled: of two processes that read the same row only one succeeds."""
    if not await tx.inbox.mark_processed(rows):
        raise _RowsChanged


def _record_delays(rows: list[InboxRow]) -> None:
    now_s = time.time()
    for row in rows:
        STORED_EVENTS.end(row.event_id)
        DELAY_SECONDS.observe(max(0.0, now_s - row.received_at_ms / 1000))
