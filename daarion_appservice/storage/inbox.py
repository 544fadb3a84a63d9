"""Events that the homeserver gave us: stored before they are acknowledged, handled later, kept as a memory of what came.

new ──► done      handled; its text is dropped, its id stays, so that the same event never counts twice
 │ └──► dead      failed too often: waits for somebody who says `events retry`
 └──── (failed)   stays new, and is due again at retry_at_ms
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningDelete

from .kept import registry_changed
from .tables import inbox, transactions
from .upsert import insert


class InboxState(StrEnum):
    NEW = "new"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event as it came: ``event`` is its JSON text."""

    event_id: str
    matrix_room_id: str
    event: str
    error: str | None = None
    """Why it can never be handled, when that is plain to see already."""


@dataclass(frozen=True, slots=True)
class InboxRow:
    id: int
    event_id: str
    matrix_room_id: str
    event: str
    attempts: int
    retry_at_ms: int
    error: str | None
    received_at_ms: int


class InboxRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, events: list[ReceivedEvent], *, now_ms: int) -> None:
        """Have those of them wait that never came before. What the homeserver sends comes in by ``Intake``."""
        if events:
            await self._connection.execute(
                insert(self._connection, inbox).on_conflict_do_nothing(index_elements=[inbox.c.event_id]),
                [
                    {
                        "event_id": event.event_id,
                        "matrix_room_id": event.matrix_room_id,
                        "event": event.event,
                        "received_at_ms": now_ms,
                        "state": InboxState.DEAD if event.error else InboxState.NEW,
                        "error": event.error,
                    }
                    for event in events
                ],
            )

    async def handled(self, event_ids: list[str]) -> set[str]:
        """Which of these came before and wait no longer."""
        found = await self._connection.execute(
            select(inbox.c.event_id).where(inbox.c.event_id.in_(event_ids), inbox.c.state != InboxState.NEW)
        )
        return set(found.scalars())

    async def put_in_order(self, matrix_room_id: str, events: list[ReceivedEvent], *, now_ms: int) -> int | None:
        """Have ``events`` wait in this order, before whatever else of their room waits; what was handled stays so.

        Returns how many of them were new, None when they waited like this already.
        """
        handled = await self.handled([event.event_id for event in events])
        events = [event for event in events if event.event_id not in handled]
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & (inbox.c.state == InboxState.NEW)
        waiting = await self._waiting(select(inbox).where(of_room))
        wanted = {event.event_id: None for event in events}
        if [event.event_id for event in waiting[: len(wanted)]] == list(wanted):
            return None
        # What is deleted is what goes back, though something may have come in since it was looked at.
        waiting = await self._waiting(delete(inbox).where(of_room).returning(inbox))
        behind = [event for event in waiting if event.event_id not in wanted]
        await self.add([*events, *behind], now_ms=now_ms)
        return len(events) + len(behind) - len(waiting)

    async def put_anew(self, matrix_room_id: str, events: list[ReceivedEvent], *, now_ms: int) -> None:
        """The same with events that may have been handled, to no effect: nobody knew whose room it was."""
        ids = [event.event_id for event in events]
        await self._connection.execute(delete(inbox).where(inbox.c.event_id.in_(ids), inbox.c.state == InboxState.DONE))
        await self.put_in_order(matrix_room_id, events, now_ms=now_ms)

    async def _waiting(self, statement: Select[Any] | ReturningDelete[Any]) -> list[ReceivedEvent]:
        rows = sorted(await self._connection.execute(statement), key=lambda row: row.id)
        return [ReceivedEvent(row.event_id, row.matrix_room_id, row.event) for row in rows]

    async def waiting(self, *, after_id: int, limit: int) -> list[InboxRow]:
        """What is to be handled, in the order it came."""
        return await self._rows(InboxState.NEW, after_id=after_id, limit=limit)

    async def dead(self, *, limit: int = 1000) -> list[InboxRow]:
        return await self._rows(InboxState.DEAD, after_id=0, limit=limit)

    async def _rows(self, state: InboxState, *, after_id: int, limit: int) -> list[InboxRow]:
        rows = await self._connection.execute(
            select(inbox).where(inbox.c.state == state, inbox.c.id > after_id).order_by(inbox.c.id).limit(limit)
        )
        return [
            InboxRow(
                row.id,
                row.event_id,
                row.matrix_room_id,
                row.event,
                row.attempts,
                row.retry_at_ms,
                row.error,
                row.received_at_ms,
            )
            for row in rows
        ]

    async def done(self, ids: list[int]) -> None:
        await self._connection.execute(
            update(inbox).where(inbox.c.id.in_(ids)).values(state=InboxState.DONE, event="", error=None)
        )

    async def failed(self, row_id: int, error: str, *, retry_at_ms: int | None) -> None:
        """Handling went wrong: due again at ``retry_at_ms``, or never by itself (None)."""
        state = InboxState.DEAD if retry_at_ms is None else InboxState.NEW
        await self._connection.execute(
            update(inbox)
            .where(inbox.c.id == row_id)
            .values(state=state, error=error, attempts=inbox.c.attempts + 1, retry_at_ms=retry_at_ms or 0)
        )

    async def retry(self, event_ids: list[str] | None) -> int:
        """Make dead events new again, all of them when no ids are given; returns how many."""
        statement = (
            update(inbox)
            .where(inbox.c.state == InboxState.DEAD)
            .values(state=InboxState.NEW, attempts=0, retry_at_ms=0)
        )
        if event_ids is not None:
            statement = statement.where(inbox.c.event_id.in_(event_ids))
        await registry_changed(self._connection)
        return (await self._connection.execute(statement)).rowcount

    async def counts(self) -> dict[str, int]:
        """How many events wait, and how many are dead."""
        rows = await self._connection.execute(
            select(inbox.c.state, func.count())
            .where(inbox.c.state.in_([InboxState.NEW, InboxState.DEAD]))
            .group_by(inbox.c.state)
        )
        return {state: count for state, count in rows}  # noqa: C416 -- a Row is no pair to mypy

    async def prune(self, *, before_ms: int) -> None:
        """Forget what came so long ago that no homeserver sends it again; of each room the last event is kept."""
        await self._connection.execute(delete(transactions).where(transactions.c.received_at_ms < before_ms))
        await self._connection.execute(
            delete(inbox).where(
                inbox.c.state == InboxState.DONE,
                inbox.c.received_at_ms < before_ms,
                inbox.c.id.not_in(select(func.max(inbox.c.id)).group_by(inbox.c.matrix_room_id)),
            )
        )
