"""Versions of the database and of rooms: one short query tells for many cached values whether they are still current.

Every change of a room's messages takes a sequence number of the room (``last_seq``, or ``first_seq`` for older history
that is inserted later) in the same transaction. A change of which clients get no event leaves one out
(``RoomRepository.mark_history_changed``). As long as the room's row is the same, so is everything that is shown of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection


@dataclass(frozen=True, slots=True)
class Versions:
    """The state of the database at one moment."""

    database: Hashable
    """Equal in two versions if and only if nothing was committed in between."""
    rooms: Mapping[str, Hashable]
    """By the requested ids or slugs: equal in two versions as long as the room and its messages are unchanged."""


class VersionReader(Protocol):
    """Reads versions; there is one implementation for each database."""

    async def read(self, rooms: Collection[str]) -> Versions:
        """Return the version of the database and of the rooms with these ids or slugs.

        Raises:
            DatabaseError: the database does not answer.
        """


# The snapshot is the set of visible transactions; those that write nothing have no id and do not change it. `xmin` is
# the transaction that wrote the room's row, `ctid` the row's place, which differs when one transaction writes it twice.
POSTGRES: Final = """
SELECT '' AS name, pg_current_snapshot()::text AS version
UNION ALL
SELECT requested.name, (
    SELECT room.xmin::text || room.ctid::text FROM rooms AS room
    WHERE room.id = requested.name OR room.slug = requested.name LIMIT 1
)
FROM unnest($1::text[]) AS requested (name)
"""
SQLITE: Final = "SELECT * FROM rooms WHERE id = ?1 OR slug = ?1 LIMIT 1"
_MAX_ROWS: Final = 1000
"""How many rows of rooms are kept in SQLite."""


class PostgresVersionReader:
    """Reads all versions by one statement, in one round trip."""

    def __init__(self, connection: PostgresDedicatedConnection) -> None:
        self._connection = connection

    async def read(self, rooms: Collection[str]) -> Versions:
        (_, snapshot), *found = await self._connection.fetch_rows(POSTGRES, (list(rooms),))
        return Versions(snapshot, dict(found))


class SqliteVersionReader:
    """Reads ``data_version``, which changes when another connection commits, and the rows of the rooms.

    The connection writes nothing itself. Versions of the database are comparable only if they come from the same
    connection. As long as the version is the same, the rows are not read again.
    """

    def __init__(self, connection: SqliteDedicatedConnection) -> None:
        self._connection = connection
        self._version: Hashable = None
        self._rows: dict[str, Hashable] = {}
        """Rows of rooms at ``_version`` or later, by the requested ids or slugs."""

    async def read(self, rooms: Collection[str]) -> Versions:
        return await self._connection.run(partial(self._read, tuple(rooms)))

    def _read(self, names: tuple[str, ...], connection: sqlite3.Connection) -> Versions:
        version = self._connection.opened, int(connection.execute("PRAGMA data_version").fetchone()[0])
        if version != self._version or len(self._rows) > _MAX_ROWS:
            self._version, self._rows = version, {}
        for name in names:
            if name not in self._rows:
                self._rows[name] = connection.execute(SQLITE, (name,)).fetchone()
        return Versions(version, {name: self._rows[name] for name in names})
