"""Notification modes: which messages of a room notify a citizen."""

from __future__ import annotations

from ..errors import NotFound
from .events import NotificationModeChanged
from .message_lookup import may_know_room
from .permissions import RoomPermissions
from .ports import CityStore, Publish
from .room_deletions import check_not_being_deleted
from .types import Author, CitizenId, Room
from .unread import NotificationMode


class NotificationModes:
    """Stores the notification modes of citizens."""

    def __init__(self, store: CityStore, publish: Publish, permissions: RoomPermissions) -> None:
        self._store = store
        self._publish = publish
        self._permissions = permissions

    async def set_mode(self, citizen: Author, room_id: str, mode: NotificationMode) -> Room:
        """Store which messages of a room notify a citizen, on all devices.

        Raises:
            NotFound: The room does not exist, or the citizen may not know of it.
            Conflict: The room is being deleted.
        """
        name = CitizenId(citizen.id)
        async with self._store.transaction() as tx:
            room = await tx.rooms.find_shown(room_id)
            if room is None or not await may_know_room(tx, room, citizen, self._permissions):
                raise NotFound("no_such_room", f"there is no room {room_id!r}")
            await check_not_being_deleted(tx, room)
            await tx.read_marks.set_mode(name, room.id, mode)
        self._publish(NotificationModeChanged(room.id, name))
        return room
