"""Rooms that are being deleted: they can be read until nothing is left, and accept no change."""

from __future__ import annotations

from ..errors import Conflict
from .ports import CityTransaction
from .types import Room


async def check_not_being_deleted(tx: CityTransaction, room: Room) -> None:
    """Refuse a change of a room whose deletion has begun: it would be deleted with the room, or keep a part of it.

    Args:
        tx: The transaction of the change.
        room: The room as this transaction reads it.

    Raises:
        Conflict: The room is being deleted.
    """
    # A deletion archives its room, so changes of other rooms cost no statement.
    if room.archived and await tx.removed_rooms.is_begun(room.id):
        raise Conflict("room_being_deleted", f"the room {room.slug} is being deleted: it cannot be changed any more")
