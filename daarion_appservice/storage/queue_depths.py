"""How much waits in the database, for metrics: cheap statements, each of which an index answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, and_, func, select

from ..city.types import MatrixStatus
from ..clock import creation_ms
from .agent_replies import ReplyState
from .database import Transaction
from .inbox import InboxState
from .outbox import OutboxState
from .tables import agent_replies, ghosts, inbox, outbox, rooms

MAX_COUNT: Final = 100_000
"""Rows of one state are counted up to this number, so that a long queue does not make the count slow."""
ARCHIVED: Final = "archived"
ERROR: Final = "error"
ROOM_STATES: Final = (*MatrixStatus, ERROR, ARCHIVED)


@dataclass(frozen=True, slots=True)
class Queue:
    """The rows of one queue by state, and the time of the oldest one that waits (ms since 1970; None if none waits)."""

    counts: dict[str, int]
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueDepths:
    """What waits at one moment."""

    inbox: Queue
    outbox: Queue
    replies: Queue
    last_transaction_ms: int | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What changes slowly: the numbers of ghosts, and of rooms by their kind (``room``, ``direct_chat``) and state."""

    ghosts: int
    rooms: dict[tuple[str, str], int]


async def read_queue_depths(tx: Transaction) -> QueueDepths:
    """Read the depths of all queues."""
    txn_id = await _first(tx, outbox, "txn_id", OutboxState.NEW)
    return QueueDepths(
        Queue(
            await _counts(tx, inbox, InboxState.NEW, InboxState.DEAD),
            await _first(tx, inbox, "received_at_ms", InboxState.NEW),
        ),
        Queue(
            await _counts(tx, outbox, OutboxState.NEW, OutboxState.FAILED),
            None if txn_id is None else creation_ms(txn_id),
        ),
        Queue(
            await _counts(tx, agent_replies, ReplyState.PENDING),
            await _first(tx, agent_replies, "requested_at_ms", ReplyState.PENDING),
        ),
        await tx.inbox.last_transaction_ms(),
    )


async def read_inventory(tx: Transaction) -> Inventory:
    """Count ghosts and rooms; this reads every room."""
    is_room, has_no_error = and_(rooms.c.agent.is_(None), ~rooms.c.is_direct), rooms.c.matrix_error.is_(None)
    columns = (is_room, rooms.c.archived, has_no_error, rooms.c.matrix_status)
    found = await tx.connection.execute(select(*columns, func.count()).group_by(*columns))
    counts: Counter[tuple[str, str]] = Counter()
    for in_list, archived, works, status, count in found:
        state = ARCHIVED if archived else status if works else ERROR
        counts["room" if in_list else "direct_chat", state] += count
    number = (await tx.connection.execute(select(func.count()).select_from(ghosts))).scalar_one()
    return Inventory(number, dict(counts))


async def _counts(tx: Transaction, table: Table, *states: str) -> dict[str, int]:
    counts = {}
    for state in states:
        some = select(table.c.id).where(table.c.state == state).limit(MAX_COUNT).subquery()
        counts[str(state)] = int((await tx.connection.execute(select(func.count()).select_from(some))).scalar_one())
    return counts


async def _first(tx: Transaction, table: Table, column: str, state: str) -> Any:
    """Return a column of the row with the lowest id in a state; None if there is none. Ids ascend with the time."""
    first = select(table.c[column]).where(table.c.state == state).order_by(table.c.id).limit(1)
    return (await tx.connection.execute(first)).scalar()
