"""Rooms with their newest public message as lists show them, each kept until the room changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Final

from ..city.identity import Identities
from ..city.types import RoomId, UserId
from ..storage.database import Transaction
from ..storage.rooms import ListedVersions
from . import schemas
from .unread_views import optional_last_message_view
from .views import room_view

_MAX_ROOMS: Final = 2000
"""How many rooms are kept, about 4 KiB each: four times as many as the longest page of a list has."""


@dataclass(frozen=True, slots=True)
class ListReader:
    """A reader of a list: the Matrix users of the reader, and whether it is an admin."""

    users: tuple[UserId, ...] = ()
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    version: Hashable
    """The versions of the room's row, of linked accounts and of signed links."""
    view: schemas.Room


class ListedRooms:
    """Returns rooms as all readers see them, and reads only those that have changed from the database."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._kept: OrderedDict[RoomId, _Kept] = OrderedDict()
        """The most recently used room is at the end."""

    async def views(self, tx: Transaction, listed: ListedVersions, reader: ListReader) -> dict[RoomId, schemas.Room]:
        """Return the JSON of rooms in the order of ``listed``, without those that are not listed any more.

        The number of online members is 0; the caller may change it, as each result is a copy.

        Args:
            tx: the transaction to read in.
            listed: the rooms with their versions, as just read for this reader.
            reader: who reads the list.
        """
        of_views = self._identities.views_version
        views = {}
        for room, version in listed.versions.items():
            if (view := self._kept_view(room, (version, of_views))) is not None:
                views[room] = view.copy()
        if changed := listed.versions.keys() - views.keys():
            views |= await self._read(tx, changed, reader, of_views)
        return {room: views[room] for room in listed.versions if room in views}

    def _kept_view(self, room: RoomId, version: Hashable) -> schemas.Room | None:
        kept = self._kept.get(room)
        if kept is None or kept.version != version:
            return None
        self._kept.move_to_end(room)
        return kept.view

    async def _read(
        self, tx: Transaction, ids: Collection[RoomId], reader: ListReader, of_views: Hashable
    ) -> dict[RoomId, schemas.Room]:
        # Rooms and versions come from the same rows, and the newest messages from a later moment: what is kept may be
        # newer than its version, never older.
        rooms = await tx.rooms.listed(ids, users=reader.users, is_admin=reader.is_admin)
        last = await tx.last_messages.of([room.id for room, _ in rooms])
        views = {}
        for room, version in rooms:
            view = room_view(room, 0, self._identities)
            view["last_message"] = optional_last_message_view(last.get(room.id), self._identities)
            self._keep(room.id, _Kept((version, of_views), view))
            views[room.id] = view.copy()
        return views

    def _keep(self, room: RoomId, kept: _Kept) -> None:
        self._kept[room] = kept
        self._kept.move_to_end(room)
        while len(self._kept) > _MAX_ROOMS:
            self._kept.popitem(last=False)
