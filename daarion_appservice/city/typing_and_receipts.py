"""Typing and read receipts of citizens and agents. They are published, not stored."""

from __future__ import annotations

from ..errors import NotFound
from .events import LocalUserRead, LocalUserTyping
from .message_lookup import find_message, may_know_room
from .permissions import RoomPermissions
from .ports import CityStore, CityTransaction, Publish
from .room_deletions import check_not_being_deleted
from .types import Author, Room


class TypingAndReceipts:
    """Publishes typing and read receipts.

    Both methods raise NotFound for an unknown room, Conflict for one that is being deleted, and Forbidden for a banned or
    kicked author; `set_typing` also for an author who may not send messages.
    """

    def __init__(self, store: CityStore, publish: Publish, permissions: RoomPermissions) -> None:
        self._store = store
        self._publish = publish
        self._permissions = permissions

    async def set_typing(self, author: Author, room_id: str, *, typing: bool) -> None:
        """Publish that the author started, continues or stopped typing."""
        async with self._store.read_only() as tx:
            room = await self._find(tx, room_id, author)
            if typing:
                # The room's members see who types, so typing requires the permission to send.
                await self._permissions.check_may_send(tx, room, author)
        self._publish(LocalUserTyping(room.id, author, typing))

    async def mark_read(self, author: Author, room_id: str, message_id: str) -> None:
        """Publish that the author has read a room up to this message. Raises NotFound for an unknown message too."""
        async with self._store.read_only() as tx:
            room = await self._find(tx, room_id, author)
            message = await find_message(
                tx, room, message_id, await self._permissions.readable_ranges(tx, room, author)
            )
        self._publish(LocalUserRead(room.id, author, message.id, message.seq, message.thread_root))

    async def _find(self, tx: CityTransaction, room_id: str, author: Author) -> Room:
        room = await tx.rooms.find_shown(room_id)
        if room is None or not await may_know_room(tx, room, author, self._permissions):
            raise NotFound("no_such_room", f"there is no room {room_id!r}")
        await check_not_being_deleted(tx, room)
        await self._permissions.check_not_removed(tx, room, author)
        return room
