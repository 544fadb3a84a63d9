"""Threads of messages: their replies in the table ``messages``, and the summaries in the rows of their roots."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import orjson
from sqlalchemy import func, not_, select, update

from ..city.history_visibility import ReadableRanges
from ..city.types import EventId, Message, MessageId, RoomId, ThreadSummary
from .author_columns import author_in_row
from .message_rows import read_message
from .readable import message_is_readable
from .repository import Repository
from .tables import messages

_MAX_NAMED: Final = 5
"""The number of authors in a summary."""
_MAX_READ: Final = 50
"""The number of replies from which these authors are taken."""


class ThreadRepository(Repository):
    """The threads of all rooms."""

    async def summarize(self, root: MessageId) -> ThreadSummary | None:
        """Count the replies of a thread that are not deleted, store the result with its root, and return it."""
        of_thread = (messages.c.thread_root == root, not_(messages.c.deleted))
        newest = (
            await self._connection.execute(
                select(messages).where(*of_thread).order_by(messages.c.seq.desc()).limit(_MAX_READ)
            )
        ).all()
        summary = None
        if newest:
            count = len(newest)
            if count == _MAX_READ:
                count = (
                    await self._connection.execute(select(func.count()).select_from(messages).where(*of_thread))
                ).scalar_one()
            authors = {author.subject: author for author in map(author_in_row, newest)}
            summary = ThreadSummary(
                count, newest[0].seq, newest[0].created_at_ms, tuple(islice(authors.values(), _MAX_NAMED))
            )
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == root)
            .values(thread_last_seq=summary and summary.last_seq, thread=summary and _stored(summary))
        )
        return summary

    async def attach(self, root: Message) -> bool:
        """Attach the replies that arrived before their root; return whether there are any."""
        found = await self._connection.execute(
            update(messages)
            .where(
                messages.c.thread_root_event == root.matrix_event_id,
                messages.c.room_id == root.room_id,
                messages.c.thread_root.is_(None),
            )
            .values(thread_root=root.id)
        )
        return found.rowcount > 0

    async def last(self, root: MessageId, before_seq: int) -> Message | None:
        """Return the newest reply before a sequence number that is not deleted."""
        return await self._first(messages.c.thread_root == root, messages.c.seq < before_seq, not_(messages.c.deleted))

    async def last_event(self, root: MessageId, before_seq: int) -> EventId | None:
        """Return the event of the newest reply before a sequence number that Matrix has."""
        reply = await self._first(
            messages.c.thread_root == root, messages.c.seq < before_seq, messages.c.matrix_event_id.is_not(None)
        )
        return reply.matrix_event_id if reply is not None else None

    async def before(
        self, root: MessageId, seq: int | None, *, limit: int, readable: ReadableRanges | None = None
    ) -> list[Message]:
        """Return up to ``limit`` replies before ``seq`` (None: the newest), oldest first.

        Args:
            readable: only replies in these readable ranges; None for all.
        """
        statement = select(messages).where(messages.c.thread_root == root)
        if readable is not None:
            statement = statement.where(message_is_readable(readable))
        if seq is not None:
            statement = statement.where(messages.c.seq < seq)
        rows = await self._connection.execute(statement.order_by(messages.c.seq.desc()).limit(limit))
        return [read_message(row) for row in reversed(rows.all())]

    async def after(self, root: MessageId, seq: int, *, limit: int, readable: ReadableRanges) -> list[Message]:
        """Return up to ``limit`` replies after ``seq`` that ``readable`` may read, oldest first."""
        rows = await self._connection.execute(
            select(messages)
            .where(messages.c.thread_root == root, messages.c.seq > seq, message_is_readable(readable))
            .order_by(messages.c.seq)
            .limit(limit)
        )
        return [read_message(row) for row in rows]

    async def roots(
        self, room: RoomId, before_last_seq: int | None, *, limit: int, readable: ReadableRanges
    ) -> list[Message]:
        """Return up to ``limit`` roots of threads that ``readable`` may read, the one with the newest reply first.

        Args:
            before_last_seq: only threads whose newest reply has a lower sequence number; None for all.
            limit: the maximum number.
            readable: the readable ranges.
        """
        statement = select(messages).where(
            messages.c.room_id == room, messages.c.thread_last_seq.is_not(None), message_is_readable(readable)
        )
        if before_last_seq is not None:
            statement = statement.where(messages.c.thread_last_seq < before_last_seq)
        rows = await self._connection.execute(statement.order_by(messages.c.thread_last_seq.desc()).limit(limit))
        return [read_message(row) for row in rows]

    async def _first(self, *conditions: Any) -> Message | None:
        statement = select(messages).where(*conditions).order_by(messages.c.seq.desc()).limit(1)
        row = (await self._connection.execute(statement)).first()
        return read_message(row) if row else None


def _stored(summary: ThreadSummary) -> str:
    by = [(author.kind, author.id, author.display_name, author.avatar_url) for author in summary.by]
    return orjson.dumps([summary.count, summary.last_at_ms, by]).decode()
