"""Messages, in the order of their rooms."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import Author, AuthorKind, Delivery, EventId, Message, MessageId, RoomId
from .tables import messages


class MessageRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, message: Message) -> None:
        await self._connection.execute(
            insert(messages).values(
                id=message.id,
                room_id=message.room_id,
                seq=message.seq,
                author_kind=message.author.kind,
                author_id=message.author.id,
                author_name=message.author.display_name,
                author_avatar=message.author.avatar_url,
                body=message.body,
                formatted_body=message.formatted_body,
                msgtype=message.msgtype,
                reply_to=message.reply_to,
                client_id=message.client_id,
                created_at_ms=message.created_at_ms,
                matrix_event_id=message.matrix_event_id,
                delivery=message.delivery,
            )
        )

    async def get(self, message: MessageId) -> Message | None:
        row = (await self._connection.execute(select(messages).where(messages.c.id == message))).first()
        return _message(row) if row else None

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
        return _message(row) if row else None

    async def by_event_id(self, event: EventId) -> Message | None:
        row = (await self._connection.execute(select(messages).where(messages.c.matrix_event_id == event))).first()
        return _message(row) if row else None

    async def before(self, room: RoomId, seq: int | None, *, limit: int) -> list[Message]:
        """Up to ``limit`` messages that came before ``seq`` (None: the latest), oldest first."""
        statement = select(messages).where(messages.c.room_id == room)
        if seq is not None:
            statement = statement.where(messages.c.seq < seq)
        rows = await self._connection.execute(statement.order_by(messages.c.seq.desc()).limit(limit))
        return [_message(row) for row in reversed(rows.all())]

    async def after(self, room: RoomId, seq: int, *, limit: int) -> list[Message]:
        """Up to ``limit`` messages that came after ``seq``, oldest first."""
        rows = await self._connection.execute(
            select(messages)
            .where(messages.c.room_id == room, messages.c.seq > seq)
            .order_by(messages.c.seq)
            .limit(limit)
        )
        return [_message(row) for row in rows]

    async def oldest_from_matrix(self, room: RoomId) -> EventId | None:
        """The Matrix event of the room's first message that has one."""
        statement = (
            select(messages.c.matrix_event_id)
            .where(messages.c.room_id == room, messages.c.matrix_event_id.is_not(None))
            .order_by(messages.c.seq)
            .limit(1)
        )
        event = (await self._connection.execute(statement)).scalar()
        return EventId(event) if event else None

    async def delivered(self, message: MessageId, event: EventId) -> None:
        await self._connection.execute(
            update(messages).where(messages.c.id == message).values(matrix_event_id=event, delivery=Delivery.SENT)
        )

    async def not_delivered(self, message: MessageId) -> None:
        await self._connection.execute(
            update(messages).where(messages.c.id == message).values(delivery=Delivery.FAILED)
        )


def _message(row: Row[Any]) -> Message:
    return Message(
        id=MessageId(row.id),
        room_id=RoomId(row.room_id),
        seq=row.seq,
        author=Author(AuthorKind(row.author_kind), row.author_id, row.author_name, row.author_avatar),
        body=row.body,
        formatted_body=row.formatted_body,
        msgtype=row.msgtype,
        reply_to=MessageId(row.reply_to) if row.reply_to else None,
        client_id=row.client_id,
        created_at_ms=row.created_at_ms,
        edited_at_ms=row.edited_at_ms,
        deleted=row.deleted,
        matrix_event_id=EventId(row.matrix_event_id) if row.matrix_event_id else None,
        delivery=Delivery(row.delivery),
    )
