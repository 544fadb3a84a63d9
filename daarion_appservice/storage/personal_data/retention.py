"""Deletion of what is older than its retention, in small portions.

Of a room, the oldest messages go, so that what is left is the newest part of its history without a gap. The root of a thread
stays as long as the thread has newer replies, and a message stays that is not on Matrix yet.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from ...city.types import Delivery, MessageId, RoomId
from ..inbox import InboxState
from ..repository import Repository
from ..tables import feed, inbox, interactions, media, media_shown, messages, room_events, rooms

PORTION: Final = 200
"""Rows that one transaction deletes."""


class RetentionRepository(Repository):
    """Deletes old rows. Each method deletes one portion, and returns how many rows it has deleted."""

    async def rooms(self) -> list[RoomId]:
        """Return all rooms and direct chats."""
        return [RoomId(room) for room in await self._connection.scalars(select(rooms.c.id).order_by(rooms.c.id))]

    async def first_seq_to_keep(self, room: RoomId, *, before_ms: int, is_unfinished: bool) -> int | None:
        """Return the sequence number of the room's first message that is new enough, or the next one if there is none.

        Args:
            before_ms: older messages are not kept, in milliseconds since 1970.
            is_unfinished: whether an interrupted run may have deleted all messages before that number, and not the events.

        Returns:
            None if the room has no message before it, unless ``is_unfinished``.
        """
        table = messages.c
        oldest = await self._connection.scalar(select(func.min(table.seq)).where(table.room_id == room))
        kept = await self._connection.scalar(
            select(table.seq)
            .where(table.room_id == room, table.created_at_ms >= before_ms)
            .order_by(table.seq)
            .limit(1)
        )
        last = await self._connection.scalar(select(rooms.c.last_seq).where(rooms.c.id == room))
        first = last + 1 if kept is None and last is not None else kept
        if first is None or is_unfinished:
            return first
        return None if oldest is None or oldest >= first else first

    async def delete_messages(self, room: RoomId, first_kept: int) -> tuple[int, list[MessageId]]:
        """Delete the oldest messages of a room, with their edits, reactions, votes, receipts and feed entries.

        Args:
            room: the room, whose row is locked.
            first_kept: the sequence number of the first message to keep.

        Returns:
            How many messages were deleted, and the roots of threads that lost replies.
        """
        table = messages.c
        found = await self._connection.execute(
            select(table.id, table.thread_root)
            .where(
                table.room_id == room,
                table.seq < first_kept,
                or_(table.thread_last_seq.is_(None), table.thread_last_seq < first_kept),
                table.delivery != Delivery.PENDING,
            )
            .order_by(table.seq)
            .limit(PORTION)
        )
        rows = found.all()
        ids = [row.id for row in rows]
        await self._connection.execute(delete(feed).where(feed.c.message_id.in_(ids)))
        await self._connection.execute(delete(messages).where(table.id.in_(ids)))
        roots = {row.thread_root for row in rows if row.thread_root is not None} - set(ids)
        return len(ids), [MessageId(root) for root in sorted(roots)]

    async def delete_room_events(self, room: RoomId, first_kept: int, *, before_ms: int) -> int:
        """Delete joins, leaves and changes from before the first message that is kept."""
        table = room_events.c
        some = (
            select(table.seq)
            .where(table.room_id == room, table.seq < first_kept, table.at_ms < before_ms)
            .order_by(table.seq)
            .limit(PORTION)
        )
        return await self._delete(room_events, and_(table.room_id == room, table.seq.in_(some)))

    async def forget_replies(self, room: RoomId) -> None:
        """Make ordinary messages of replies to messages that are gone."""
        original = aliased(messages)
        await self._connection.execute(
            update(messages)
            .where(
                messages.c.room_id == room,
                messages.c.reply_to.is_not(None),
                ~exists().where(original.c.id == messages.c.reply_to),
            )
            .values(reply_to=None)
        )

    async def delete_feed(self, *, before_ms: int) -> int:
        return await self._delete(feed, feed.c.id.in_(_oldest(feed.c.id, feed.c.created_at_ms < before_ms)))

    async def delete_interactions(self, *, before_ms: int) -> int:
        """Delete interactions with Second Me."""
        old = _oldest(interactions.c.number, interactions.c.created_at_ms < before_ms)
        return await self._delete(interactions, interactions.c.number.in_(old))

    async def delete_media(self, *, before_ms: int) -> int:
        """Delete files that no message shows and that are not avatars, so that their uploaders cannot load them any more."""
        shown = exists().where(media_shown.c.mxc == media.c.mxc)
        is_old = and_(media.c.created_at_ms < before_ms, media.c.uploader_id.is_not(None), ~media.c.is_avatar, ~shown)
        return await self._delete(media, media.c.mxc.in_(_oldest(media.c.mxc, is_old)))

    async def forget_dead_letters(self, *, before_ms: int) -> int:
        """Drop the texts of dead letters; their ids stay, so that a repetition has no effect."""
        old = _oldest(inbox.c.id, and_(inbox.c.state == InboxState.DEAD, inbox.c.received_at_ms < before_ms))
        forgotten = await self._connection.execute(
            update(inbox).where(inbox.c.id.in_(old)).values(state=InboxState.DONE, event="", error=None)
        )
        return forgotten.rowcount

    async def _delete(self, table: Table, condition: ColumnElement[bool]) -> int:
        return (await self._connection.execute(delete(table).where(condition))).rowcount


def _oldest(key: Any, condition: ColumnElement[bool]) -> Select[Any]:
    return select(key).where(condition).order_by(key).limit(PORTION)
