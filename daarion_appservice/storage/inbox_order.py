"""The order of the inbox: events that a sweep or a backfill finds are put before those that arrived earlier."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from enum import Enum, auto
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Select, delete, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningDelete

from .inbox import MAX_PARAMETERS, InboxRepository, InboxState, ReceivedEvent, lock_inbox_order
from .repository import Repository
from .row_mapper import RowMapper
from .tables import inbox


class DifferentRows(Enum):
    """Where ``reorder`` places the other waiting events of the room."""

    BEHIND = auto()
    """Behind the given events."""
    SWEPT_BEFORE = auto()
    """Swept events before the given events, the others behind them."""
    BETWEEN = auto()
    """Before the given event that they preceded so far; behind all given events if there is none."""


_received_event: Final = RowMapper(
    ReceivedEvent, error=lambda _: None, is_confirmed=attrgetter("confirmed"), is_swept=attrgetter("swept")
)


class InboxOrderRepository(Repository):
    """The ids of ``inbox``, which are the order of processing, and its column ``swept``."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection)
        self._inbox = InboxRepository(connection)

    async def reorder(
        self,
        matrix_room_id: str,
        events: list[ReceivedEvent],
        *,
        now_ms: int,
        others: DifferentRows = DifferentRows.BEHIND,
    ) -> int | None:
        """Make ``events`` wait in this order; processed events stay processed.

        Args:
            events: events of the room in the wanted order.
            now_ms: the time that is stored as their time of arrival.
            others: where the other waiting events of the room go.

        Returns:
            How many of ``events`` were new; None if the inbox had this order already.
        """
        await lock_inbox_order(self._connection)
        handled = await self._inbox.find_processed([event.event_id for event in events])
        events = [event for event in events if event.event_id not in handled]
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & (inbox.c.state == InboxState.NEW)
        waiting = await self._waiting(select(inbox).where(of_room))
        wanted = _merged(waiting, events, others)
        if [(event.event_id, event.before_message) for event in waiting] == [
            (event.event_id, event.before_message) for event in wanted
        ]:
            return None
        # Exactly the deleted rows are inserted again: events may have arrived since the first query.
        waiting = await self._waiting(delete(inbox).where(of_room).returning(inbox))
        wanted = _merged(waiting, events, others)
        await self._inbox.add(wanted, now_ms=now_ms)
        return len(wanted) - len(waiting)

    async def reinsert(self, matrix_room_id: str, events: list[ReceivedEvent], *, now_ms: int) -> None:
        """Do the same as ``reorder`` for events that were processed without effect as their room was unknown."""
        await self.delete_processed([event.event_id for event in events])
        await self.reorder(matrix_room_id, events, now_ms=now_ms)

    async def delete_processed(self, ids: list[str]) -> None:
        """Delete these events if they are processed, so that they can be inserted again."""
        await lock_inbox_order(self._connection)
        await self._connection.execute(delete(inbox).where(inbox.c.event_id.in_(ids), inbox.c.state == InboxState.DONE))

    async def unswept(self, matrix_room_id: str) -> list[str]:
        """Return the ids of a room's events that no sweep has returned yet."""
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & not_(inbox.c.swept)
        return list((await self._connection.execute(select(inbox.c.event_id).where(of_room))).scalars())

    async def late_positions(self, matrix_room_id: str, *, exclude: Collection[str]) -> list[str | None]:
        """Return before which message each waiting event that a sweep found will be inserted.

        Args:
            exclude: ids of events to leave out.

        Returns:
            Message ids, None for the end of the room, in the order in which the events will be processed.
        """
        late = (inbox.c.matrix_room_id == matrix_room_id) & (inbox.c.state == InboxState.NEW) & inbox.c.swept
        rows = await self._connection.execute(
            select(inbox.c.event_id, inbox.c.before_message).where(late).order_by(inbox.c.id)
        )
        return [before for event_id, before in rows if event_id not in exclude]

    async def mark_swept_before(self, matrix_room_id: str, row_id: int) -> None:
        """Note the events of a room whose row ids are lower than ``row_id`` as swept."""
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & not_(inbox.c.swept)
        await self._connection.execute(update(inbox).where(of_room, inbox.c.id < row_id).values(swept=True))

    async def mark_swept(
        self, matrix_room_id: str, event_ids: list[str], *, all_except: Collection[str] | None = None
    ) -> None:
        """Note that a sweep returned these events of a room.

        Their positions in the homeserver's stream are known from then on.

        Args:
            event_ids: the events that the sweep returned.
            all_except: unless None, all processed events of the room are noted too, except these.
        """
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & not_(inbox.c.swept)
        for start in range(0, len(event_ids), MAX_PARAMETERS):
            part = event_ids[start : start + MAX_PARAMETERS]
            await self._connection.execute(update(inbox).where(of_room, inbox.c.event_id.in_(part)).values(swept=True))
        if all_except is None:
            return
        handled = of_room & (inbox.c.state == InboxState.DONE)
        rows = await self._connection.execute(select(inbox.c.id, inbox.c.event_id).where(handled))
        ids = [row.id for row in rows if row.event_id not in all_except]
        for start in range(0, len(ids), MAX_PARAMETERS):
            part = ids[start : start + MAX_PARAMETERS]
            await self._connection.execute(update(inbox).where(inbox.c.id.in_(part)).values(swept=True))

    async def _waiting(self, statement: Select[Any] | ReturningDelete[Any]) -> list[ReceivedEvent]:
        rows = sorted(await self._connection.execute(statement), key=lambda row: row.id)
        return [_received_event(row) for row in rows]


def _merged(
    waiting: Sequence[ReceivedEvent], events: Sequence[ReceivedEvent], others: DifferentRows
) -> list[ReceivedEvent]:
    """Return the waiting events of a room in the order that `reorder` describes; a swept event stays swept."""
    index_of = {event.event_id: index for index, event in enumerate(waiting)}
    swept = {event.event_id for event in waiting if event.is_swept}
    wanted = {event.event_id for event in events}
    rest = deque(event for event in waiting if event.event_id not in wanted)
    merged: list[ReceivedEvent] = []
    if others is DifferentRows.SWEPT_BEFORE:
        merged += [event for event in rest if event.is_swept]
        rest = deque(event for event in rest if not event.is_swept)
    for event in events:
        while others is DifferentRows.BETWEEN and rest and index_of[rest[0].event_id] < index_of.get(event.event_id, 0):
            merged.append(rest.popleft())
        merged.append(replace(event, is_swept=event.is_swept or event.event_id in swept))
    return [*merged, *rest]
