"""Rooms that were removed from the city, until the service has left their Matrix rooms."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from ..city.types import MatrixRoomId, Room, RoomId
from .key_values import registry_changed
from .repository import Repository
from .tables import former_matrix_rooms, outbox, removed_rooms, rooms


@dataclass(frozen=True, slots=True)
class RemovedRoom:
    """One row of ``removed_rooms``."""

    room_id: RoomId
    matrix_room_id: MatrixRoomId | None
    """None if the room had no Matrix room yet."""
    slug: str


class RemovedRoomRepository(Repository):
    """The table ``removed_rooms``."""

    async def add(self, room: Room) -> None:
        """Delete a room with everything in it, and store its Matrix rooms, former ones included.

        Foreign keys delete its messages, events, members, feed entries and receipts.
        """
        await registry_changed(self._connection)
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
