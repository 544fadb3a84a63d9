"""Stores the homeserver's transactions in the inbox, each with one commit.

The homeserver sends its next transaction only after the response to this one, so every event waits for this code. A
pooled connection, statements that SQLAlchemy composes, and a switch to the driver's thread for each statement took four
times as long.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction that was stored now."""

    row_ids: Mapping[str, int]
    """The rows of the inbox by event id, of those events that were new."""


class InboxWriter(Protocol):
    """Stores transactions; there is one implementation for each database."""

    async def store(self, transaction: ReceivedTransaction) -> StoredTransaction | None:
        """Store the transaction and those of its events that are new; both are on the disk when this method returns.

        Returns:
            None if the transaction is stored already; nothing is inserted then.

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
    RETURNING id, event_id
)
SELECT NULL AS id, NULL AS event_id FROM new UNION ALL SELECT id, event_id FROM stored
"""


class PostgresInboxWriter:
    """Stores a transaction with one statement, in one round trip."""

    def __init__(self, connection: PostgresDedicatedConnection, availability: Availability) -> None:
        self._connection = connection
        self._availability = availability

    async def store(self, transaction: ReceivedTransaction) -> StoredTransaction | None:
        columns = zip(*map(_values, transaction.events), strict=True) if transaction.events else ((),) * 5
        named = (transaction.txn_id, transaction.body_sha256, transaction.received_at_ms)
        with self._availability.observe():
            rows = await self._connection.fetch_rows(_POSTGRES, (*named, *map(list, columns), INBOX_ORDER_LOCK))
        # The first row is that of a new transaction, the others are its events.
        return (
            StoredTransaction({row["event_id"]: row["id"] for row in rows if row["id"] is not None}) if rows else None
        )


_SQLITE_TRANSACTION: Final = """
INSERT INTO transactions (txn_id, body_sha256, received_at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
_SQLITE_EVENT: Final = """
INSERT INTO inbox (event_id, matrix_room_id, event, state, error, received_at_ms) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO NOTHING RETURNING id
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

    async def store(self, transaction: ReceivedTransaction) -> StoredTransaction | None:
        with self._availability.observe():
            async with self._writing:
                return await self._connection.run(partial(_stored, transaction))


def _stored(transaction: ReceivedTransaction, connection: sqlite3.Connection) -> StoredTransaction | None:
    received_at_ms = transaction.received_at_ms
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        named = (transaction.txn_id, transaction.body_sha256, received_at_ms)
        is_new = connection.execute(_SQLITE_TRANSACTION, named).rowcount > 0
        row_ids: dict[str, int] = {}
        for event in transaction.events if is_new else ():
            for (row_id,) in connection.execute(_SQLITE_EVENT, (*_values(event), received_at_ms)).fetchall():
                row_ids[event.event_id] = row_id
    return StoredTransaction(row_ids) if is_new else None


def _values(event: ReceivedEvent) -> tuple[str, str, str, str, str | None]:
    state = InboxState.DEAD if event.error else InboxState.NEW
    return event.event_id, event.matrix_room_id, event.event, state.value, event.error
