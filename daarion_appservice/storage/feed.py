"""The city's feed, newest first. A page starts at an id, so its cost does not grow with the feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import delete, insert, select, update

from ..city.feed_entries import FeedEntry
from ..city.history_visibility import ReadableRanges
from ..city.types import MessageId, RoomId
from .author_columns import author_in_row, author_values
from .readable import entry_is_readable
from .repository import Repository
from .row_mapper import RowMapper
from .tables import feed

_NOBODY: Final = dict.fromkeys(("author_kind", "author_id", "author_name", "author_avatar"))


_ADD: Final = insert(feed).inline()
_entry: Final = RowMapper(
    FeedEntry,
    actor=lambda row: author_in_row(row) if row.author_kind else None,
    payload=lambda row: orjson.loads(row.payload),
)


class FeedRepository(Repository):
    """The table ``feed``."""

    async def add(self, entries: list[FeedEntry]) -> None:
        if len(entries) == 1:
            await self._write(_ADD, _values(entries[0]))
        elif entries:
            await self._connection.execute(_ADD, [_values(entry) for entry in entries])

    async def before(
        self, entry_id: str | None, *, limit: int, ranges_by_room: Mapping[RoomId, ReadableRanges] | None = None
    ) -> list[FeedEntry]:
        """Return up to ``limit`` entries older than ``entry_id`` (None: the newest), newest first.

        Args:
            ranges_by_room: readable ranges of the reader in restricted rooms; None for public entries only.
        """
        statement = select(feed).where(entry_is_readable(ranges_by_room or {}))
        if entry_id is not None:
            statement = statement.where(feed.c.id < entry_id)
        return [
            _entry(row) for row in await self._connection.execute(statement.order_by(feed.c.id.desc()).limit(limit))
        ]

    async def update_payload(self, entry: FeedEntry) -> None:
        """Update the entry of an edited message; ``entry`` is the entry with the new content."""
        await self._connection.execute(
            update(feed)
            .where(feed.c.message_id == entry.message_id)
            .values(payload=orjson.dumps(dict(entry.payload)).decode(), visibility=entry.visibility, seq=entry.seq)
        )

    async def delete_message(self, message: MessageId) -> None:
        """Delete the entries of a deleted message."""
        await self._connection.execute(delete(feed).where(feed.c.message_id == message))


def _values(entry: FeedEntry) -> dict[str, Any]:
    return {
        **_entry.values(entry),
        "payload": orjson.dumps(dict(entry.payload)).decode(),
        **(author_values(entry.actor) if entry.actor else _NOBODY),
    }
