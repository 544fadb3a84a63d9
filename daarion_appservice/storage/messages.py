"""Messages, ordered by the sequence numbers of their rooms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    not_,
    or_,
    select,
    union_all,
    update,
)

from ..city.history_visibility import PUBLIC, ReadableRanges
from ..city.media import media_uris
from ..city.message_kinds import PollResults
from ..city.received_messages import EarlyEvents
from ..city.types import (
    Author,
    AuthorKind,
    Content,
    Delivery,
    EventId,
    HistoryVisibility,
    MatrixRoomId,
    Message,
    MessageId,
    ReactionCount,
    RoomId,
)
from .author_columns import author_values
from .content_columns import content_values, results_values
from .media import add_shown, remove_shown
from .message_rows import read_message, read_often, tally
from .readable import cached_if_few, message_is_readable
from .renumbering import move_number
from .repository import Repository
from .tables import early_edits, inbox, mentions, messages, search_entries

_NONE: Final = "[]"
# A constant, as in the partial index ix_messages_from_matrix: PostgreSQL's generic plans would not use the index for a
# parameter.
_IS_FROM_MATRIX: Final = messages.c.author_kind == literal_column(f"'{AuthorKind.MATRIX.value}'")
_MAX_PARAMETERS: Final = 10_000
"""Maximum number of event ids in one statement: each database accepts at most 32,766 parameters."""


# Built once: for each message that would take as long as executing them.
_GET: Final = select(messages).where(messages.c.id == bindparam("message"))
_OF_EVENT: Final = select(messages).where(messages.c.matrix_event_id == bindparam("event"))
_MARK_SENT: Final = (
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(matrix_event_id=bindparam("event"), delivery=Delivery.SENT, delivery_error=None)
)
_ADD: Final = insert(messages).inline()
_REPLY: Final = messages.alias("reply")
_ADD_RECEIVED: Final = insert(messages).returning(
    # The room's row is locked by now: what others stored about the message is committed, and this statement sees it.
    exists()
    .where(
        _REPLY.c.thread_root_event == bindparam("its_event"),
        _REPLY.c.room_id == bindparam("its_room"),
        _REPLY.c.thread_root.is_(None),
    )
    .label("replies"),
    exists().where(early_edits.c.original_event_id == bindparam("its_event")).label("edits"),
)


class MessageRepository(Repository):
    """The table ``messages``."""

    async def add(self, message: Message) -> EarlyEvents:
        """Store a message; return what arrived before it that is about it, which only a message from Matrix has."""
        early = EarlyEvents()
        if message.matrix_event_id is None:
            await self._write(_ADD, _values(message))
        else:
            its = {"its_event": message.matrix_event_id, "its_room": message.room_id}
            row = (await self._connection.execute(_ADD_RECEIVED, _values(message) | its)).one()
            early = EarlyEvents(bool(row.replies), bool(row.edits))
        await add_shown(self._connection, message.id, media_uris(message.media, message.formatted_body))
        return early

    async def get(self, message: MessageId) -> Message | None:
        row = (await self._connection.execute(_GET, {"message": message})).first()
        return read_message(row) if row else None

    async def by_client_id(self, author: Author, room: RoomId, client_id: str) -> Message | None:
        row = (
            await self._connection.execute(
                select(messages).where(
                    messages.c.author_kind == author.kind,
                    messages.c.author_id == author.id,
                    messages.c.room_id == room,
                    messages.c.client_id == client_id,
                )
            )
        ).first()
        return read_message(row) if row else None

    async def by_event_id(self, event: EventId) -> Message | None:
        row = (await self._connection.execute(_OF_EVENT, {"event": event})).first()
        return read_message(row) if row else None

    async def by_ids(self, ids: list[MessageId]) -> dict[MessageId, Message]:
        if not ids:
            return {}
        rows = await self._connection.execute(select(messages).where(messages.c.id.in_(ids)))
        return {message.id: message for message in map(read_message, rows)}

    async def before(
        self,
        room: RoomId,
        seq: int | None,
        *,
        limit: int,
        readable: ReadableRanges | None = None,
        without_threads: bool = False,
    ) -> list[Message]:
        """Return up to ``limit`` messages before ``seq`` (None: the newest), oldest first.

        Args:
            readable: only messages in these readable ranges; None for all.
            without_threads: only messages of the main timeline.
        """
        statement = select(messages).where(messages.c.room_id == room, *_readable(readable))
        if without_threads:
            statement = statement.where(messages.c.thread_root.is_(None), messages.c.thread_root_event.is_(None))
        if seq is not None:
            statement = statement.where(messages.c.seq < seq)
        rows = await self._connection.execute(statement.order_by(messages.c.seq.desc()).limit(limit))
        return read_often(reversed(rows.all()))

    async def after(self, room: RoomId, seq: int, *, limit: int, readable: ReadableRanges) -> list[Message]:
        """Return up to ``limit`` messages after ``seq`` that ``readable`` may read, oldest first."""
        rows = await self._connection.execute(
            select(messages)
            .where(messages.c.room_id == room, messages.c.seq > seq, *_readable(readable))
            .order_by(messages.c.seq)
            .limit(limit)
        )
        return read_often(rows)

    async def first_since(
        self, room: RoomId, at_ms: int, *, readable: ReadableRanges, thread: MessageId | None = None
    ) -> Message | None:
        """Return the first message of a room or a thread from a time on that ``readable`` may read."""
        statement = select(messages).where(messages.c.room_id == room, messages.c.created_at_ms >= at_ms)
        if thread is not None:
            statement = statement.where(messages.c.thread_root == thread)
        first = statement.where(*_readable(readable)).order_by(messages.c.created_at_ms, messages.c.seq).limit(1)
        row = (await self._connection.execute(first)).first()
        return read_message(row) if row else None

    async def between(self, room: RoomId, seq: int, last_seq: int, *, limit: int) -> list[Message]:
        """Return up to ``limit`` messages after ``seq`` and up to ``last_seq``, oldest first."""
        rows = await self._connection.execute(
            select(messages)
            .where(messages.c.room_id == room, messages.c.seq > seq, messages.c.seq <= last_seq)
            .order_by(messages.c.seq)
            .limit(limit)
        )
        return [read_message(row) for row in rows]

    async def unread(
        self,
        marks: Mapping[RoomId, int],
        ranges_by_room: Mapping[RoomId, ReadableRanges],
        *,
        exclude: Collection[Author],
        limit: int,
        up_to: Mapping[RoomId, int] | None = None,
        without_threads: bool = False,
    ) -> dict[RoomId, int]:
        """Count the messages of each room after the ``seq`` of its mark, up to ``limit``.

        Args:
            marks: sequence number of the last read message by room.
            ranges_by_room: readable ranges by room, ``PUBLIC`` by default; other messages do not count, nor do deleted ones.
            exclude: authors whose messages do not count.
            limit: the highest count.
            up_to: sequence number of the last message that counts, by room; by default all.
            without_threads: count only messages of the main timelines.
        """
        if not marks:
            return {}
        table = messages.c
        own = [not_(and_(table.author_kind == author.kind, table.author_id == author.id)) for author in exclude]
        restricted = marks.keys() & ranges_by_room.keys()
        counts = []
        # The restricted rooms last: fewer different statements are cached.
        for room, seq in sorted(marks.items(), key=lambda mark: mark[0] in restricted):
            is_readable = message_is_readable(ranges_by_room.get(room, PUBLIC))
            newer = (
                select(literal(1))
                .where(table.room_id == room, table.seq > seq, not_(table.deleted), *own)
                .where(cached_if_few(is_readable, len(restricted)))
                .limit(limit)
            )
            if without_threads:
                newer = newer.where(table.thread_root.is_(None), table.thread_root_event.is_(None))
            if up_to is not None:
                newer = newer.where(table.seq <= up_to[room])
            counts.append(select(literal(room), func.count()).select_from(newer.subquery()))
        return {RoomId(room): count for room, count in await self._connection.execute(union_all(*counts))}

    async def places(
        self, room: RoomId, events: Sequence[str], *, is_from_matrix: bool = False
    ) -> dict[str, tuple[int, MessageId]]:
        """Return sequence number and id, by event id, of the room's messages that are among ``events``.

        Args:
            is_from_matrix: whether to leave out messages of citizens and agents.
        """
        of_room = messages.c.room_id == room
        if is_from_matrix:
            of_room &= messages.c.author_kind == AuthorKind.MATRIX
        found: dict[str, tuple[int, MessageId]] = {}
        for start in range(0, len(events), _MAX_PARAMETERS):
            part = events[start : start + _MAX_PARAMETERS]
            rows = await self._connection.execute(
                select(messages.c.matrix_event_id, messages.c.seq, messages.c.id).where(
                    of_room, messages.c.matrix_event_id.in_(part)
                )
            )
            found |= {row.matrix_event_id: (row.seq, MessageId(row.id)) for row in rows}
        return found

    async def from_matrix_after(self, room: RoomId, seq: int) -> dict[str, tuple[int, MessageId]]:
        """Return sequence number and id, by event id, of the Matrix users' messages after ``seq``, in their order."""
        rows = await self._connection.execute(
            select(messages.c.matrix_event_id, messages.c.seq, messages.c.id)
            .where(messages.c.room_id == room, messages.c.seq > seq, _IS_FROM_MATRIX)
            .order_by(messages.c.seq)
        )
        return {row.matrix_event_id: (row.seq, MessageId(row.id)) for row in rows}

    async def last_from_matrix(
        self, room: RoomId, matrix_room: MatrixRoomId, *, exclude: Collection[str]
    ) -> int | None:
        """Return the sequence number of the last message by a Matrix user in this Matrix room; None if there is none.

        Args:
            exclude: event ids to leave out.
        """
        rows = await self._connection.execute(
            select(messages.c.matrix_event_id, messages.c.seq)
            .join(inbox, inbox.c.event_id == messages.c.matrix_event_id, isouter=True)
            .where(messages.c.room_id == room, _IS_FROM_MATRIX)
            .where(or_(inbox.c.matrix_room_id.is_(None), inbox.c.matrix_room_id == matrix_room))
            .order_by(messages.c.seq.desc())
            .limit(len(exclude) + 1)
        )
        return next((seq for event_id, seq in rows if event_id not in exclude), None)

    async def oldest_from_matrix(self, room: RoomId) -> EventId | None:
        """Return the Matrix event of the room's first message that has one."""
        statement = (
            select(messages.c.matrix_event_id)
            .where(messages.c.room_id == room, messages.c.matrix_event_id.is_not(None))
            .order_by(messages.c.seq)
            .limit(1)
        )
        event = (await self._connection.execute(statement)).scalar()
        return EventId(event) if event else None

    async def edit(
        self,
        message: MessageId,
        content: Content,
        *,
        edited_at_ms: int | None,
        seq: int | None,
        visibility: HistoryVisibility,
    ) -> None:
        """Replace the content of a message.

        Args:
            seq: sequence number of the edit; None for the original content.
            visibility: history visibility of the room at the time of the edit.
        """
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == message)
            .values(
                **content_values(content),
                edited_at_ms=edited_at_ms,
                edit_seq=seq,
                edit_visibility=visibility,
            )
        )
        await remove_shown(self._connection, message)
        await add_shown(self._connection, message, media_uris(content.media, content.formatted_body))

    async def move(self, message: Message, seq: int) -> None:
        """Change the sequence number of ``message`` to ``seq``, which no other message of its room may have."""
        await move_number(self._connection, message.id, message.seq, seq)

    async def delete(self, message: MessageId) -> None:
        """Delete the content of a message; its row stays as a tombstone."""
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == message)
            .values(
                body="",
                formatted_body=None,
                media=None,
                mentions=_NONE,
                reactions=_NONE,
                details=None,
                poll_results=None,
                deleted=True,
            )
        )
        await remove_shown(self._connection, message)
        await self._connection.execute(delete(mentions).where(mentions.c.message_id == message))
        await self._connection.execute(delete(search_entries).where(search_entries.c.message_id == message))

    async def set_reactions(self, message: MessageId, tallies: tuple[ReactionCount, ...]) -> None:
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == message)
            .values(reactions=orjson.dumps([tally(each) for each in tallies]).decode())
        )

    async def set_poll_results(self, message: MessageId, results: PollResults | None) -> None:
        await self._connection.execute(
            update(messages).where(messages.c.id == message).values(poll_results=results_values(results))
        )

    async def mark_sent(self, message: MessageId, event: EventId) -> None:
        await self._write(_MARK_SENT, {"message": message, "event": event})

    async def mark_failed(self, message: MessageId, error: str) -> None:
        """Set the delivery to failed; ``error`` is a `DeliveryError`."""
        await self._set_delivery(message, Delivery.FAILED, error)

    async def mark_pending(self, message: MessageId) -> None:
        await self._set_delivery(message, Delivery.PENDING)

    async def _set_delivery(self, message: MessageId, delivery: Delivery, error: str | None = None) -> None:
        await self._connection.execute(
            update(messages).where(messages.c.id == message).values(delivery=delivery, delivery_error=error)
        )


def _values(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "room_id": message.room_id,
        "seq": message.seq,
        **author_values(message.author),
        **content_values(message.content),
        "reply_to": message.reply_to,
        "thread_root": message.thread_root,
        "thread_root_event": message.thread_root_event,
        "client_id": message.client_id,
        "created_at_ms": message.created_at_ms,
        "matrix_event_id": message.matrix_event_id,
        "delivery": message.delivery,
        "visibility": message.visibility,
        "poll_results": results_values(message.poll_results),
    }


def _readable(readable: ReadableRanges | None) -> list[ColumnElement[bool]]:
    return [] if readable is None else [message_is_readable(readable)]
