"""The city's feed, newest first; found by its id, which sorts by time, however long the feed is."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import insert, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import Author, AuthorKind, FeedEntry, FeedKind, RoomId
from .tables import feed


class FeedRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, entries: list[FeedEntry]) -> None:
        if entries:
            await self._connection.execute(insert(feed), [_values(entry) for entry in entries])

    async def before(self, entry_id: str | None, *, limit: int) -> list[FeedEntry]:
        """Up to ``limit`` entries older than that one (None: the newest), newest first."""
        statement = select(feed)
        if entry_id is not None:
            statement = statement.where(feed.c.id < entry_id)
        return [
            _entry(row) for row in await self._connection.execute(statement.order_by(feed.c.id.desc()).limit(limit))
        ]


def _values(entry: FeedEntry) -> dict[str, Any]:
    actor = entry.actor
    return {
        "id": entry.id,
        "kind": entry.kind,
        "created_at_ms": entry.created_at_ms,
        "room_id": entry.room_id,
        "author_kind": actor and actor.kind,
        "author_id": actor and actor.id,
        "author_name": actor and actor.display_name,
        "author_avatar": actor and actor.avatar_url,
        "payload": orjson.dumps(dict(entry.payload)).decode(),
    }


def _entry(row: Row[Any]) -> FeedEntry:
    actor = row.author_kind and Author(AuthorKind(row.author_kind), row.author_id, row.author_name, row.author_avatar)
    return FeedEntry(
        row.id,
        FeedKind(row.kind),
        row.created_at_ms,
        RoomId(row.room_id) if row.room_id else None,
        actor or None,
        orjson.loads(row.payload),
    )
