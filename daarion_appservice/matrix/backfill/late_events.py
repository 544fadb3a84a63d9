"""Inserts events of a range of history that no transaction delivered into the inbox, in stream order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import structlog

from ...city.event_fields import event_id_of
from ...city.events import RoomEventStored
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.room_sequence import move
from ...city.types import MatrixRoomId, MessageId, RoomId
from ...storage.database import Database, Transaction
from ...storage.inbox import InboxState, StoredEvent
from ...storage.inbox_order import DifferentRows
from .metrics import Missed, MissedEvents
from .missing_events import InboxChanges, plan_changes, since_received
from .room_history import HistoryRange
from .stream_order import Place, PositionNeighbours

_LIKELY_CAUSE: Final = {
    Missed.START: "they were written while this service did not run, or did not lead, and Synapse did not deliver them",
    Missed.ABSENCE: "Synapse was unavailable, and had not delivered them by then",
    Missed.WORKER: "Synapse answers but delivers nothing: did its appservice worker (notify_appservices_from_worker) end, "
    "or does something between it and appservice.address hold transactions back?",
    Missed.FEDERATION: "other homeservers could not reach Synapse for a while, and it found them later",
    Missed.BACKFILL: "they were missing when an admin requested a backfill of the whole history",
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """The result of inserting a range of history into the inbox."""

    room: MatrixRoomId
    ids: list[str]
    """The ids of its events, without those from before the city began to receive events of the room."""
    missing: int
    room_to_check: RoomId | None
    """The city room if state events were missing or out of order: its current state has to be read. Else None."""
    moves: list[RoomEventStored]
    """The city events to publish after the commit."""


class LateEventWriter:
    """Writes missing events into the inbox, and counts and logs them."""

    def __init__(self, database: Database, identities: Identities, metrics: MissedEvents, now_ms: NowMs) -> None:
        self._database = database
        self._identities = identities
        self._metrics = metrics
        self._now_ms = now_ms

    async def unknown(self, ranges: Iterable[HistoryRange]) -> set[str]:
        """Return the ids of the events that are not in the inbox, without those from before the city received events."""
        async with self._database.read_only() as tx:
            return {each for history in ranges for each in await self._unknown(tx, history)}

    async def _unknown(self, tx: Transaction, history: HistoryRange) -> set[str]:
        history, known = await self._since_first_known(tx, history)
        return set(history.ids) - known.keys()

    async def _since_first_known(
        self, tx: Transaction, history: HistoryRange
    ) -> tuple[HistoryRange, dict[str, StoredEvent]]:
        known = await tx.inbox.find_stored(history.ids)
        if not history.is_first:
            return history, known
        events = since_received(history.events, known, self._identities.is_ours)
        ordered_from = max(0, history.in_stream_order_from - len(history.events) + len(events))
        return replace(history, events=events, in_stream_order_from=ordered_from), known

    async def store(self, tx: Transaction, history: HistoryRange, *, is_covered: bool = False) -> BackfillResult:
        """Put the missing events of a range into the inbox, and move messages that are out of stream order.

        Runs in the caller's transaction.

        Args:
            tx: the caller's transaction.
            history: events of one Matrix room, oldest first.
            is_covered: the transaction stores a ``/sync`` token behind the range, where the next sweep begins.
        """
        await tx.inbox.lock(history.room)
        history, known = await self._since_first_known(tx, history)
        room = await tx.rooms.by_matrix_id(history.room) or await tx.rooms.by_former_id(history.room)
        places = await tx.messages.places(room.id, history.ids) if room is not None else {}
        if history.is_first:
            # The reader may not get events from before its join (history visibility). So events that are not in the range
            # but arrived before one that is in it count as swept.
            last_row = max((each.row_id for each in known.values()), default=0)
            await tx.inbox_order.mark_swept_before(history.room, last_row)
        neighbours = await self._neighbours(tx, room.id, history, places) if room is not None else PositionNeighbours()
        # The inbox no longer has the ids of old events: those of stored messages count as known.
        known = {event_id: StoredEvent(InboxState.DONE, 0) for event_id in places} | known
        changes = plan_changes(
            history.events,
            known,
            places,
            self._identities.is_ours,
            in_stream_order_from=history.in_stream_order_from,
            neighbours=neighbours,
        )
        moves = [await move(tx, each.message, each.before, self._now_ms()) for each in changes.moves]
        await self._write(tx, history, changes)
        if is_covered:
            await tx.inbox_order.mark_swept(
                history.room, history.ids, all_except=neighbours.after.keys() if history.is_first else None
            )
        missing = [event for event in history.events if event_id_of(event) not in known]
        is_state_check_needed = changes.is_state_misordered or any(
            isinstance(event.get("state_key"), str) for event in missing
        )
        return BackfillResult(
            history.room,
            history.ids,
            changes.missing,
            room.id if room is not None and is_state_check_needed else None,
            [each for each in moves if each is not None],
        )

    async def _neighbours(
        self, tx: Transaction, room: RoomId, history: HistoryRange, places: Mapping[str, Place]
    ) -> PositionNeighbours:
        if not history.since_token and not history.is_first:
            # The range was read backwards from its end: messages behind its last one arrived after the request.
            last = max((place[0] for place in places.values()), default=None)
            return PositionNeighbours(after={} if last is None else await tx.messages.from_matrix_after(room, last))
        ids = set(history.ids)
        later = [event_id for event_id in await tx.inbox_order.unswept(history.room) if event_id not in ids]
        places = await tx.messages.places(room, later, is_from_matrix=True)
        after = dict(sorted(places.items(), key=lambda item: item[1]))
        if history.is_first:
            return PositionNeighbours(after=after)
        last = await tx.messages.last_from_matrix(room, history.room, exclude=ids | after.keys())
        return PositionNeighbours(last, await self._last_moved_position(tx, room, history.room, ids), after)

    async def _last_moved_position(
        self, tx: Transaction, room: RoomId, matrix_room: MatrixRoomId, ids: set[str]
    ) -> float | None:
        moved_before = await tx.inbox_order.late_positions(matrix_room, exclude=ids)
        if not moved_before:
            return None
        before = moved_before[-1]
        message = await tx.messages.get(MessageId(before)) if before is not None else None
        return message.seq if message is not None and message.room_id == room else inf

    async def _write(self, tx: Transaction, history: HistoryRange, changes: InboxChanges) -> None:
        now_ms = self._now_ms()
        await tx.inbox_order.delete_processed(changes.repeated)
        others = (
            DifferentRows.BETWEEN
            if history.is_first
            else DifferentRows.SWEPT_BEFORE
            if history.since_token
            else DifferentRows.BEHIND
        )
        await tx.inbox_order.reorder(history.room, changes.pending, now_ms=now_ms, others=others)
        await tx.inbox.add(changes.done, now_ms=now_ms, is_done=True)
        await tx.inbox.confirm([row.event_id for row in changes.pending])

    def publish(self, reason: Missed, missing_by_room: dict[MatrixRoomId, int]) -> None:
        """Count the missing events in the metrics and log their likely cause, after the commit.

        Args:
            reason: the sweep that found them.
            missed: the number of missing events by Matrix room.
        """
        count = sum(missing_by_room.values())
        if not count:
            return
        self._metrics.count(reason, count)
        log.warning(
            "events_missed",
            count=count,
            rooms=sorted(room for room, missing in missing_by_room.items() if missing)[:10],
            reason=reason.value,
            help=_LIKELY_CAUSE[reason],
        )
