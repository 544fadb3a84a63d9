"""Read receipts, and the messages that the receipts of Matrix users mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, not_, select, text
from sqlalchemy.engine import Row

from ..city.history_visibility import ReadableRanges
from ..city.receipts import ReadPosition, Receipt, ReceiptKey
from ..city.types import EventId, HistoryVisibility, MessageId, RoomId, SubjectId
from .parameter_lists import parts
from .readable import message_is_readable
from .repository import Repository
from .tables import messages, read_receipts, revisions
from .upsert import insert

_MOST_SCANNED: Final = 2_000
"""The number of a timeline's newest messages among which the message at a time is searched."""
_PLACE: Final[list[ColumnElement[Any]]] = [
    messages.c.id,
    messages.c.seq,
    messages.c.thread_root,
    messages.c.deleted,
]

# As text: SQLAlchemy correlates no subquery with the table of an upsert.
_IS_NEWER: Final = text(
    "(SELECT stored.seq FROM messages AS stored WHERE stored.id = read_receipts.message_id)"
    " < (SELECT newer.seq FROM messages AS newer WHERE newer.id = excluded.message_id)"
)


@dataclass(frozen=True, slots=True)
class MessagePlace:
    """A message in the order of its room."""

    id: MessageId
    seq: int
    thread_root: MessageId | None
    is_deleted: bool


class ReceiptRepository(Repository):
    """The table ``read_receipts``."""

    async def advance(self, positions: Mapping[ReceiptKey, ReadPosition]) -> list[Receipt]:
        """Store receipts, except those that are older than the stored one and those of unknown messages.

        Args:
            positions: at most 1,000 new positions.

        Returns:
            The receipts that were stored.
        """
        found = await self._visibilities(position.message_id for position in positions.values())
        known = {key: position for key, position in positions.items() if position.message_id in found}
        if not known:
            return []
        statement = insert(self._connection, read_receipts).values([_row(*item) for item in known.items()])
        stored = await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[read_receipts.c.room_id, read_receipts.c.thread_root, read_receipts.c.reader],
                set_={"message_id": statement.excluded.message_id, "at_ms": statement.excluded.at_ms},
                where=_IS_NEWER,
            ).returning(read_receipts.c.room_id, read_receipts.c.reader, read_receipts.c.thread_root)
        )
        keys = [_key(row.room_id, row.reader, row.thread_root) for row in stored]
        return [Receipt(key, known[key], found[known[key].message_id]) for key in keys]

    async def of_room(
        self, room: RoomId, thread_root: MessageId | None, *, limit: int, readable: ReadableRanges
    ) -> list[Receipt]:
        """Return the receipts of a timeline at messages that ``readable`` may read, the newest message first."""
        rows = await self._connection.execute(
            select(read_receipts, messages.c.seq, messages.c.visibility)
            .join(messages, messages.c.id == read_receipts.c.message_id)
            .where(
                read_receipts.c.room_id == room,
                read_receipts.c.thread_root == (thread_root or ""),
                message_is_readable(readable),
            )
            .order_by(messages.c.seq.desc(), read_receipts.c.at_ms.desc(), read_receipts.c.reader)
            .limit(limit)
        )
        return [
            Receipt(
                _key(row.room_id, row.reader, row.thread_root),
                ReadPosition(MessageId(row.message_id), row.seq, row.at_ms),
                HistoryVisibility(row.visibility),
            )
            for row in rows
        ]

    async def places(self, room: RoomId, events: Collection[EventId]) -> dict[EventId, MessagePlace]:
        """Return the messages of the room that these events posted."""
        found: dict[EventId, MessagePlace] = {}
        for part in parts(events):
            rows = await self._connection.execute(
                select(*_PLACE)
                .add_columns(messages.c.matrix_event_id)
                .where(messages.c.room_id == room, messages.c.matrix_event_id.in_(part))
            )
            found |= {EventId(row.matrix_event_id): _place(row) for row in rows}
        return found

    async def edited_at(self, event: EventId) -> int | None:
        """Return the time of an edit in milliseconds since 1970; None for an event that is not an edit of a message."""
        found = await self._connection.execute(select(revisions.c.at_ms).where(revisions.c.event_id == event))
        at_ms: int | None = found.scalar()
        return at_ms

    async def shown_at_seq(self, room: RoomId, thread_root: MessageId | None, seq: int) -> MessagePlace | None:
        """Return the newest message of a timeline up to ``seq`` that is not deleted."""
        row = (
            await self._connection.execute(
                select(*_PLACE)
                .where(*_shown(room, thread_root), messages.c.seq <= seq)
                .order_by(messages.c.seq.desc())
                .limit(1)
            )
        ).first()
        return _place(row) if row else None

    async def shown_at_time(self, room: RoomId, thread_root: MessageId | None, at_ms: int) -> MessagePlace | None:
        """Return the newest message of a timeline up to a time that is not deleted, if it is among the newest 2,000."""
        newest = (
            select(*_PLACE)
            .add_columns(messages.c.created_at_ms)
            .where(*_shown(room, thread_root))
            .order_by(messages.c.seq.desc())
            .limit(_MOST_SCANNED)
            .subquery()
        )
        row = (
            await self._connection.execute(
                select(newest).where(newest.c.created_at_ms <= at_ms).order_by(newest.c.seq.desc()).limit(1)
            )
        ).first()
        return _place(row) if row else None

    async def _visibilities(self, ids: Iterable[MessageId]) -> dict[MessageId, HistoryVisibility]:
        rows = await self._connection.execute(
            select(messages.c.id, messages.c.visibility).where(messages.c.id.in_(set(ids)))
        )
        return {MessageId(row.id): HistoryVisibility(row.visibility) for row in rows}


def _place(row: Row[Any]) -> MessagePlace:
    return MessagePlace(
        MessageId(row.id), row.seq, MessageId(row.thread_root) if row.thread_root else None, row.deleted
    )


def _shown(room: RoomId, thread_root: MessageId | None) -> tuple[ColumnElement[bool], ...]:
    root = messages.c.thread_root
    return (
        messages.c.room_id == room,
        root.is_(None) if thread_root is None else root == thread_root,
        not_(messages.c.deleted),
    )


def _key(room: str, reader: str, thread_root: str) -> ReceiptKey:
    return ReceiptKey(RoomId(room), SubjectId(reader), MessageId(thread_root) if thread_root else None)


def _row(key: ReceiptKey, position: ReadPosition) -> dict[str, Any]:
    return {
        "room_id": key.room,
        "thread_root": key.thread_root or "",
        "reader": key.reader,
        "message_id": position.message_id,
        "at_ms": position.at_ms,
    }
