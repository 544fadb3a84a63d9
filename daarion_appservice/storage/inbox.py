"""Matrix events from the homeserver, stored before their transaction is acknowledged and processed later.

new ──► done      processed; the JSON text is dropped and the id stays, so that a repeated event has no effect
 │ └──► dead      failed too often: waits for `dead-letter retry`
 └──── (failed)   stays new and is due again at retry_at_ms
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Select, bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .key_values import registry_changed
from .repository import Repository
from .row_mapper import RowMapper
from .tables import early_edits, inbox, transactions
from .upsert import insert

INBOX_ORDER_LOCK: Final = 0xDAA211
"""PostgreSQL advisory lock on the order of the inbox. ``InboxWriter`` holds it shared and
``InboxOrderRepository.reorder`` exclusively, each until its transaction ends; otherwise an event that arrives during
a reordering gets an id between those of the rewritten rows. SQLite has one writer at a time and needs no such lock.
"""


MAX_PARAMETERS: Final = 10_000
"""Maximum number of event ids in one statement: each database accepts at most 32,766 parameters."""

MAX_CHARS: Final = 1024 * 1024
"""Characters of event JSON that are read together: about sixteen events of the maximum size."""


class InboxState(StrEnum):
    """States of a row of ``inbox``."""

    NEW = "new"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One Matrix event as received; ``event`` is its JSON text."""

    event_id: str
    matrix_room_id: str
    event: str
    error: str | None = None
    """Why the event can never be processed, if that is known when it is received."""
    is_confirmed: bool = False
    """Whether the homeserver shows the event to clients; a transaction does not tell."""
    before_message: str | None = None
    """Id of the message before which the event belongs, if later events have been processed already."""
    is_swept: bool = False
    """Whether a sweep by ``/sync`` returned the event, so that its position in the homeserver's stream is known."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """State and position of an event that is stored in the inbox."""

    state: InboxState
    row_id: int
    """Ascends in the order in which events were received."""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One row of ``inbox``."""

    id: int
    event_id: str
    matrix_room_id: str
    event: str
    attempts: int
    retry_at_ms: int
    error: str | None
    received_at_ms: int
    is_confirmed: bool
    before_message: str | None
    is_edited_early: bool
    """Whether edits of this event arrived before it."""


_inbox_row: Final = RowMapper(InboxRow, is_confirmed=attrgetter("confirmed"))
_ROW: Final = (
    inbox,
    exists().where(early_edits.c.original_event_id == inbox.c.event_id).label("is_edited_early"),
)


def _waiting() -> Select[Any]:
    sizes = (
        select(inbox.c.id, func.length(inbox.c.event).label("size"))
        .where(inbox.c.state == InboxState.NEW, inbox.c.id > bindparam("after_id"))
        .order_by(inbox.c.id)
        .limit(bindparam("most", type_=Integer))
        .subquery()
    )
    before = func.sum(sizes.c.size).over(order_by=sizes.c.id) - sizes.c.size
    placed = select(sizes.c.id, before.label("chars_before")).subquery()
    fitting = select(*_ROW).join(placed, placed.c.id == inbox.c.id)
    return fitting.where(placed.c.chars_before < bindparam("most_chars", type_=BigInteger)).order_by(inbox.c.id)


# Built once: for each message that would take as long as executing them.
_WAITING: Final = _waiting()
_MARK_PROCESSED: Final = (
    update(inbox)
    .where(inbox.c.id.in_(bindparam("ids", expanding=True)), inbox.c.state == InboxState.NEW)
    .values(state=InboxState.DONE, event="", error=None)
    .returning(inbox.c.id, inbox.c.event_id)
)


class InboxRepository(Repository):
    """The table ``inbox``."""

    async def add(self, events: list[ReceivedEvent], *, now_ms: int, is_done: bool = False) -> None:
        """Insert the events that the inbox does not have yet. Transactions use ``InboxWriter`` instead.

        Args:
            events: the events in the order in which they are to be processed.
            now_ms: the time that is stored as their time of arrival.
            is_done: whether to store them as processed already, for events that would have no effect.
        """
        state = InboxState.DONE if is_done else InboxState.NEW
        if events:
            await self._connection.execute(
                insert(self._connection, inbox).on_conflict_do_nothing(index_elements=[inbox.c.event_id]),
                [
                    {
                        "event_id": event.event_id,
                        "matrix_room_id": event.matrix_room_id,
                        "event": "" if is_done else event.event,
                        "received_at_ms": now_ms,
                        "state": InboxState.DEAD if event.error else state,
                        "error": event.error,
                        "confirmed": event.is_confirmed,
                        "before_message": event.before_message,
                        "swept": event.is_swept,
                    }
                    for event in events
                ],
            )

    async def find_processed(self, event_ids: list[str]) -> set[str]:
        """Return which of these events are stored and no longer wait."""
        found = await self._connection.execute(
            select(inbox.c.event_id).where(inbox.c.event_id.in_(event_ids), inbox.c.state != InboxState.NEW)
        )
        return set(found.scalars())

    async def find_stored(self, event_ids: list[str]) -> dict[str, StoredEvent]:
        """Return state and row id of those events that are stored."""
        found: dict[str, StoredEvent] = {}
        for start in range(0, len(event_ids), MAX_PARAMETERS):
            part = event_ids[start : start + MAX_PARAMETERS]
            rows = await self._connection.execute(
                select(inbox.c.event_id, inbox.c.state, inbox.c.id).where(inbox.c.event_id.in_(part))
            )
            found |= {row.event_id: StoredEvent(InboxState(row.state), row.id) for row in rows}
        return found

    async def confirm(self, event_ids: list[str]) -> None:
        """Mark waiting events as shown to clients by the homeserver."""
        await self._connection.execute(
            update(inbox)
            .where(inbox.c.event_id.in_(event_ids), inbox.c.state == InboxState.NEW, ~inbox.c.confirmed)
            .values(confirmed=True)
        )

    async def has_waiting(self, matrix_room_id: str) -> bool:
        """Return whether the room has events that are not processed yet."""
        of_room = (inbox.c.matrix_room_id == matrix_room_id) & (inbox.c.state == InboxState.NEW)
        return (await self._connection.execute(select(inbox.c.id).where(of_room).limit(1))).first() is not None

    async def lock(self, matrix_room_id: str) -> None:
        """Lock the waiting events of a room and the order of the inbox until this transaction ends."""
        await lock_inbox_order(self._connection)
        await self._connection.execute(
            select(inbox.c.id)
            .where(inbox.c.matrix_room_id == matrix_room_id, inbox.c.state == InboxState.NEW)
            .with_for_update()
        )

    async def waiting(self, *, after_id: int, limit: int) -> list[InboxRow]:
        """Return waiting events in the order of their processing.

        Processing events takes several times the memory of their texts, so a batch ends with the event that brings it
        to ``MAX_CHARS`` characters.

        Args:
            after_id: only rows with higher ids.
            limit: the maximum number of rows.
        """
        return await self._read(_WAITING, {"after_id": after_id, "most": limit, "most_chars": MAX_CHARS})

    async def dead_letters(self, *, limit: int = 1000) -> list[InboxRow]:
        dead = select(*_ROW).where(inbox.c.state == InboxState.DEAD)
        return await self._read(dead.order_by(inbox.c.id).limit(limit))

    async def _read(self, statement: Select[Any], values: dict[str, Any] | None = None) -> list[InboxRow]:
        return [_inbox_row(row) for row in await self._connection.execute(statement, values)]

    async def mark_processed(self, rows: Sequence[InboxRow]) -> bool:
        """Note events as processed. Wait for other transactions that process or move one of them.

        Returns:
            False if some of them no longer wait, or were moved; the caller must then roll back.
        """
        done = await self._connection.execute(_MARK_PROCESSED, {"ids": [row.id for row in rows]})
        # SQLite gives the id of a row that was moved to another one, so the id alone does not name an event.
        return {tuple(row) for row in done} == {(row.id, row.event_id) for row in rows}

    async def record_failure(self, row: InboxRow, error: str, *, retry_at_ms: int | None) -> None:
        """Record a failed attempt; one at an event that was moved meanwhile does not count.

        Args:
            row: the row as it was read.
            error: what failed.
            retry_at_ms: when the event is due again; None makes it a dead letter.
        """
        state = InboxState.DEAD if retry_at_ms is None else InboxState.NEW
        await self._connection.execute(
            update(inbox)
            .where(inbox.c.id == row.id, inbox.c.event_id == row.event_id)
            .values(state=state, error=error, attempts=inbox.c.attempts + 1, retry_at_ms=retry_at_ms or 0)
        )

    async def retry(self, event_ids: list[str] | None) -> int:
        """Make dead letters wait again, all of them if ``event_ids`` is None; return how many."""
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
        """Return the number of events by state, of those that wait and of dead letters."""
        rows = await self._connection.execute(
            select(inbox.c.state, func.count())
            .where(inbox.c.state.in_([InboxState.NEW, InboxState.DEAD]))
            .group_by(inbox.c.state)
        )
        return {state: count for state, count in rows}  # noqa: C416 -- a Row is not a pair to mypy

    async def oldest_waiting_ms(self) -> int | None:
        """Return when the oldest waiting event was received (ms since 1970); None if none waits."""
        oldest = select(func.min(inbox.c.received_at_ms)).where(inbox.c.state == InboxState.NEW)
        found: int | None = (await self._connection.execute(oldest)).scalar()
        return found

    async def last_transaction_ms(self) -> int | None:
        """Return when the last transaction of the homeserver was received (ms since 1970); None if there was none."""
        found: int | None = (await self._connection.execute(select(func.max(transactions.c.received_at_ms)))).scalar()
        return found

    async def prune(self, *, before_ms: int) -> None:
        """Delete transactions and processed events older than ``before_ms``, except the last event of each room.

        Args:
            before_ms: a time so long ago that no homeserver repeats a transaction from before it.
        """
        await self._connection.execute(delete(transactions).where(transactions.c.received_at_ms < before_ms))
        await self._connection.execute(
            delete(inbox).where(
                inbox.c.state == InboxState.DONE,
                inbox.c.received_at_ms < before_ms,
                inbox.c.id.not_in(select(func.max(inbox.c.id)).group_by(inbox.c.matrix_room_id)),
            )
        )


async def lock_inbox_order(connection: AsyncConnection) -> None:
    """Prevent inserts into the inbox and changes of its order by other connections until this transaction ends."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(INBOX_ORDER_LOCK)))
