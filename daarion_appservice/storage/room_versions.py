"""Versions of rooms: a cheap query that may spare a larger one.

Every change of a room's messages takes a sequence number of the room (``last_seq``, or ``first_seq`` for older history
that is inserted later) in the same transaction. As long as the room's row is the same, so is everything that is shown
of the room.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any, Final, Protocol

from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection


class RoomVersions(Protocol):
    """Reads versions of rooms; there is one implementation for each database."""

    async def of(self, id_or_slug: str) -> object:
        """Return a value that stays equal as long as the room and its messages are unchanged."""


POSTGRES: Final = "SELECT (SELECT room::text FROM rooms AS room WHERE room.id = $1 OR room.slug = $1 LIMIT 1)"
SQLITE: Final = "SELECT * FROM rooms WHERE id = ?1 OR slug = ?1 LIMIT 1"


class PostgresRoomVersions:
    def __init__(self, connection: PostgresDedicatedConnection) -> None:
        self._connection = connection

    async def of(self, id_or_slug: str) -> object:
        return await self._connection.fetch_value(POSTGRES, (id_or_slug,))


class SqliteRoomVersions:
    def __init__(self, connection: SqliteDedicatedConnection) -> None:
        self._connection = connection

    async def of(self, id_or_slug: str) -> object:
        return await self._connection.run(partial(_row, id_or_slug))


def _row(id_or_slug: str, connection: sqlite3.Connection) -> Any:
    return connection.execute(SQLITE, (id_or_slug,)).fetchone()
