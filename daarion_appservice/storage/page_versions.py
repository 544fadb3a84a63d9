"""Which versions of rows a page of a room is made of: a short look by which a longer one may be spared."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any, Final, Protocol

from .line import PostgresLine, SqliteLine

_AFTER_ALL: Final = (1 << 63) - 1


class PageVersions(Protocol):
    async def of(self, id_or_slug: str, before: int | None, limit: int) -> object:
        """What is equal as long as the room and its last ``limit`` messages before that number are the same."""


POSTGRES: Final = """
SELECT (
    SELECT concat_ws(' ', room.xmin, room.ctid, (
        SELECT string_agg(concat_ws(' ', page.xmin, page.ctid), ' ' ORDER BY page.seq) FROM (
            SELECT xmin, ctid, seq FROM messages WHERE room_id = room.id AND seq < $2 ORDER BY seq DESC LIMIT $3
        ) AS page
    )) FROM rooms AS room WHERE room.id = $1 OR room.slug = $1 LIMIT 1
)
"""


class PostgresPageVersions:
    """Each version of a row has the number of the transaction that made it, and a place of its own."""

    def __init__(self, line: PostgresLine) -> None:
        self._line = line

    async def of(self, id_or_slug: str, before: int | None, limit: int) -> object:
        return await self._line.ask(POSTGRES, (id_or_slug, _AFTER_ALL if before is None else before, limit))


SQLITE_ROOM: Final = "SELECT * FROM rooms WHERE id = ?1 OR slug = ?1 LIMIT 1"
SQLITE_PAGE: Final = "SELECT * FROM messages WHERE room_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"


class SqlitePageVersions:
    """The rows themselves: without a way to a server that is short enough."""

    def __init__(self, line: SqliteLine) -> None:
        self._line = line

    async def of(self, id_or_slug: str, before: int | None, limit: int) -> object:
        return await self._line.run(partial(_rows, id_or_slug, _AFTER_ALL if before is None else before, limit))


def _rows(id_or_slug: str, before: int, limit: int, connection: sqlite3.Connection) -> list[Any]:
    rooms = connection.execute(SQLITE_ROOM, (id_or_slug,)).fetchall()
    return [rooms, *(connection.execute(SQLITE_PAGE, (room[0], before, limit)).fetchall() for room in rooms)]
