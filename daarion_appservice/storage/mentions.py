"""Mentions of citizens and Matrix users in messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import and_, delete, insert, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.history_visibility import PUBLIC, ReadableRanges
from ..city.types import Author, CitizenId, Message, MessageId, RoomId, SubjectId
from ..city.unread import ROOM_MENTION, Mention
from .message_rows import read_message
from .repository import Repository
from .tables import mentions, messages, read_marks, rooms

_MOST: Final = 1_000
"""The number of unread mentions that are read; further ones would not change the counts."""


class MentionRepository(Repository):
    """The table ``mentions``."""

    async def put(self, message: Message, subjects: Collection[SubjectId]) -> None:
        """Replace the subjects that a message mentions."""
        await delete_mentions(self._connection, message.id)
        if subjects:
            rows = [
                {"message_id": message.id, "subject": subject, "room_id": message.room_id, "seq": message.seq}
                for subject in sorted(subjects)
            ]
            await self._connection.execute(insert(mentions), rows)

    async def forget(self, room: RoomId, subjects: Collection[SubjectId]) -> None:
        """Delete the mentions of subjects who left a room."""
        await self._connection.execute(
            delete(mentions).where(mentions.c.subject.in_(subjects), mentions.c.room_id == room)
        )

    async def unread(
        self,
        citizen: CitizenId,
        authors: Collection[Author],
        ranges_by_room: Mapping[RoomId, ReadableRanges],
        joined: Collection[RoomId],
        among: Collection[RoomId] | None = None,
    ) -> list[Mention]:
        """Return the newest mentions after the stored read marks of the main timelines, at most 1,000.

        Args:
            citizen: the reader.
            authors: the reader's authors: mentions of their subjects count, and their own messages do not.
            ranges_by_room: readable ranges by room, ``PUBLIC`` by default.
            joined: the rooms of which the reader is a member: in others, mentions of all members do not count.
            among: only these rooms; None for all.
        """
        subjects = [author.subject for author in authors]
        of_members = and_(mentions.c.subject == ROOM_MENTION, mentions.c.room_id.in_(joined))
        read = (read_marks.c.room_id == mentions.c.room_id) & (read_marks.c.citizen_id == citizen)
        statement = (
            select(messages, mentions.c.subject)
            .join(messages, messages.c.id == mentions.c.message_id)
            .join(rooms, rooms.c.id == mentions.c.room_id)
            .join(read_marks, read & (read_marks.c.thread_root == ""), isouter=True)
            .where(or_(mentions.c.subject.in_(subjects), of_members), not_(messages.c.deleted), not_(rooms.c.archived))
            .where(read_marks.c.seq.is_(None) | (mentions.c.seq > read_marks.c.seq))
            .order_by(mentions.c.message_id.desc())
            .limit(_MOST)
        )
        if among is not None:
            statement = statement.where(mentions.c.room_id.in_(among))
        found: dict[MessageId, Mention] = {}
        for row in await self._connection.execute(statement):
            message = read_message(row)
            is_own = message.author.subject in subjects
            if is_own or not ranges_by_room.get(message.room_id, PUBLIC).may_read_message(message):
                continue
            is_of_room = row.subject == ROOM_MENTION and found.get(message.id, _OF_ROOM).is_of_room
            found[message.id] = Mention(message.room_id, message.seq, message.thread_root, is_of_room)
        return list(found.values())


_OF_ROOM: Final = Mention(RoomId(""), 0, None, is_of_room=True)


async def delete_mentions(connection: AsyncConnection, message: MessageId) -> None:
    """Delete the mentions of a message."""
    await connection.execute(delete(mentions).where(mentions.c.message_id == message))
