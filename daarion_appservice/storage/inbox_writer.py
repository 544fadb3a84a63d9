"""Stores the homeserver's transactions in the inbox, each with one commit.

The homeserver sends its next transaction only after the response to this one, so every event waits for this code. A
pooled connection, statements that SQLAlchemy composes, and a switch to the driver's thread for each statement took four
times as long.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from .availability import Availability
from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection
from .inbox import INBOX_ORDER_LOCK, InboxState, ReceivedEvent


@dataclass(frozen=True, slots=True)
class ReceivedTransaction:
    """One transaction of the homeserver."""

    txn_id: str
    body_sha256: str
    """Hash of the body: the id alone does not identify a transaction, as a reinstalled homeserver starts counting
    again.
    """
    events: list[ReceivedEvent]
    received_at_ms: int


class InboxWriter(Protocol):
    """Stores transactions; there is one implementation for each database."""

    async def store(self, transaction: ReceivedTransaction) -> bool:
        """Store the transaction and those of its events that are new; both are on the disk when this method returns.

        Returns:
            False if the transaction is stored already; nothing is inserted then.

        Raises:
            DatabaseError: the database cannot store it.
        """


_POSTGRES: Final = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared($9)
), new AS (
    INSERT INTO transactions (txn_id, body_sha256, received_at_ms) SELECT $1::text, $2::text, $3::bigint FROM locked
    ON CONFLICT DO NOTHING RETURNING txn_id
), stored AS (
    INSERT INTO inbox (event_id, matrix_room_id, event, state, error, received_at_ms)
    SELECT event_id, matrix_room_id, event, state, error, $3
    FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
        WITH ORDINALITY AS came (event_id, matrix_room_id, event, state, error, place)
    WHERE EXISTS (SELECT FROM new)
    ORDER BY place
    ON CONFLICT (event_id) DO NOTHING
)
SELECT EXISTS (SELECT FROM new)
"""


class PostgresInboxWriter:
    """Stores a transaction with one statement, in one round trip."""

    def __init__(self, connection: PostgresDedicatedConnection, availability: Availability) -> None:
        self._connection = connection
        self._availability = availability

    async def store(self, transaction: ReceivedTransaction) -> bool:
        columns = zip(*map(_values, transaction.events), strict=True) if transaction.events else ((),) * 5
        named = (transaction.txn_id, transaction.body_sha256, transaction.received_at_ms)
        with self._availability.observe():
            return bool(await self._connection.fetch_value(_POSTGRES, (*named, *map(list, columns), INBOX_ORDER_LOCK)))


_SQLITE_TRANSACTION: Final = """
INSERT INTO transactions (txn_id, body_sha256, received_at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
_SQLITE_EVENT: Final = """
INSERT INTO inbox (event_id, matrix_room_id, event, state, error, received_at_ms) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO NOTHING
"""


class SqliteInboxWriter:
    """Stores a transaction in one call of the connection's thread."""

    def __init__(
        self, connection: SqliteDedicatedConnection, writing: asyncio.Lock, availability: Availability
    ) -> None:
        """``writing`` is the lock that every writer of the file holds."""
        self._connection = connection
        self._writing = writing
        self._availability = availability

    async def store(self, transaction: ReceivedTransaction) -> bool:
        with self._availability.observe():
            async with self._writing:
                return await self._connection.run(partial(_stored, transaction))


def _stored(transaction: ReceivedTransaction, connection: sqlite3.Connection) -> bool:
    received_at_ms = transaction.received_at_ms
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        named = (transaction.txn_id, transaction.body_sha256, received_at_ms)
        is_new = connection.execute(_SQLITE_TRANSACTION, named).rowcount > 0
        if is_new:
            connection.executemany(_SQLITE_EVENT, [(*_values(event), received_at_ms) for event in transaction.events])
    return is_new


def _values(event: ReceivedEvent) -> tuple[str, str, str, str, str | None]:
    state = InboxState.DEAD if event.error else InboxState.NEW
    return event.event_id, event.matrix_room_id, event.event, state.value, event.error
