"""Rooms that were removed from the city, until the service has left their Matrix rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select

from ..city.types import MatrixRoomId, Room, RoomId
from .key_values import KeyValueRepository, registry_changed
from .repository import Repository
from .tables import feed, former_matrix_rooms, messages, outbox, removed_rooms, room_events, rooms

PORTION: Final = 500
"""Messages or events of a room that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class RemovedRoom:
    """One row of ``removed_rooms``."""

    room_id: RoomId
    matrix_room_id: MatrixRoomId | None
    """None if the room had no Matrix room yet."""
    slug: str


class RemovedRoomRepository(Repository):
    """The table ``removed_rooms``."""

    async def delete_portion(self, room: RoomId) -> bool:
        """Delete the newest messages of a room, or else events, so that no reply or thread is left without its root.

        Returns:
            Whether there may be more.
        """
        newest = select(messages.c.id).where(messages.c.room_id == room).order_by(messages.c.seq.desc()).limit(PORTION)
        ids = list(await self._connection.scalars(newest))
        await self._connection.execute(delete(feed).where(feed.c.message_id.in_(ids)))
        await self._connection.execute(delete(messages).where(messages.c.id.in_(ids)))
        if len(ids) == PORTION:
            return True
        table = room_events.c
        some = select(table.seq).where(table.room_id == room).order_by(table.seq.desc()).limit(PORTION)
        events = delete(room_events).where(table.room_id == room, table.seq.in_(some))
        return (await self._connection.execute(events)).rowcount == PORTION

    async def begin(self, room: RoomId) -> None:
        """Store that a room is to be removed, until `add` or `end`."""
        await KeyValueRepository(self._connection).begin_deletion(room)

    async def is_begun(self, room: RoomId) -> bool:
        """Return whether a room is to be removed."""
        return await KeyValueRepository(self._connection).is_deletion_unfinished(room)

    async def end(self, room: RoomId) -> None:
        await KeyValueRepository(self._connection).end_deletion(room)

    async def unfinished(self) -> set[RoomId]:
        """Return the rooms that are to be removed."""
        return await KeyValueRepository(self._connection).unfinished_deletions()

    async def add(self, room: Room) -> None:
        """Delete a room with everything in it, and store its Matrix rooms, former ones included.

        Foreign keys delete its messages, events, members, feed entries and receipts.
        """
        await registry_changed(self._connection)
        await self.end(room.id)
        former = await self._connection.scalars(
            select(former_matrix_rooms.c.matrix_room_id).where(former_matrix_rooms.c.room_id == room.id)
        )
        values = [
            {"room_id": room.id, "matrix_room_id": each, "slug": room.slug}
            for each in {room.matrix_room_id or "", *former}
        ]
        # Rows of a room with the same slug that was removed before, and whose Matrix room was adopted again.
        await self._connection.execute(
            delete(removed_rooms).where(
                removed_rooms.c.room_id == room.id,
                removed_rooms.c.matrix_room_id.in_([row["matrix_room_id"] for row in values]),
            )
        )
        await self._connection.execute(insert(removed_rooms), values)
        # Joins and leaves that wait to be sent belong to no message.
        await self._connection.execute(delete(outbox).where(outbox.c.room_id == room.id))
        await self._connection.execute(delete(rooms).where(rooms.c.id == room.id))

    async def all(self) -> list[RemovedRoom]:
        rows = await self._connection.execute(select(removed_rooms).order_by(removed_rooms.c.slug))
        return [
            RemovedRoom(RoomId(row.room_id), MatrixRoomId(row.matrix_room_id) if row.matrix_room_id else None, row.slug)
            for row in rows
        ]

    async def delete(self, removed: RemovedRoom) -> None:
        await self._connection.execute(
            delete(removed_rooms).where(
                removed_rooms.c.room_id == removed.room_id,
                removed_rooms.c.matrix_room_id == (removed.matrix_room_id or ""),
            )
        )
