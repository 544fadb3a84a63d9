"""Changes sequence numbers of a room in all tables that contain them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import MessageId, RoomId
from .tables import feed, membership_periods, mentions, messages, read_marks, revisions, room_events

_NUMBERS: Final[tuple[Column[int], ...]] = (
    messages.c.seq,
    messages.c.edit_seq,
    messages.c.thread_last_seq,
    room_events.c.seq,
    membership_periods.c.start_seq,
    membership_periods.c.joined_seq,
    membership_periods.c.end_seq,
    feed.c.seq,
    read_marks.c.seq,
    mentions.c.seq,
)


async def raise_numbers(connection: AsyncConnection, room: RoomId, first: int, *, by: int) -> None:
    """Raise all sequence numbers of the room from ``first`` on by ``by``."""
    for number in _NUMBERS:
        table = number.table
        await connection.execute(
            update(table).where(table.c.room_id == room, number >= first).values({number: number + by})
        )
    of_room = revisions.c.message_id.in_(select(messages.c.id).where(messages.c.room_id == room))
    await connection.execute(
        update(revisions).where(of_room, revisions.c.seq >= first).values(seq=revisions.c.seq + by)
    )


async def move_number(connection: AsyncConnection, message: MessageId, seq: int, to: int) -> None:
    """Change the sequence number of a message, its feed entry, revision and mentions to ``to``, which must be free."""
    await connection.execute(update(messages).where(messages.c.id == message).values(seq=to))
    for table in (feed, revisions, mentions):
        await connection.execute(update(table).where(table.c.message_id == message, table.c.seq == seq).values(seq=to))
