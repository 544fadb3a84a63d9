"""A cache of the JSON of listed rooms, each with its newest public message, until the room changes."""

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
"""The size of the cache in rooms, about 4 KiB each: four times as many as the longest page of a list has."""


@dataclass(frozen=True, slots=True)
class ListReader:
    """A reader of a list: the Matrix users of the reader, and whether it is an admin."""

    users: tuple[UserId, ...] = ()
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class _CachedView:
    version: Hashable
    """The versions of the room's row, of linked accounts and of signed links."""
    view: schemas.Room


class RoomViewCache:
    """Returns the JSON of rooms that is equal for all readers, and reads only changed rooms from the database."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._cached: OrderedDict[RoomId, _CachedView] = OrderedDict()
        """The most recently used room is at the end."""

    async def views(self, tx: Transaction, listed: ListedVersions, reader: ListReader) -> dict[RoomId, schemas.Room]:
        """Return the JSON of rooms in the order of ``listed``, without those that are not listed any more.

        The number of online members is 0; the caller may change it, as each result is a copy.

        Args:
            tx: the transaction to read in.
            listed: the rooms with their versions, as just read for this reader.
            reader: who reads the list.
        """
        views_version = self._identities.views_version
        views = {}
        for room, version in listed.versions.items():
            if (view := self._cached_view(room, (version, views_version))) is not None:
                views[room] = view.copy()
        if changed := listed.versions.keys() - views.keys():
            views |= await self._read(tx, changed, reader, views_version)
        return {room: views[room] for room in listed.versions if room in views}

    def _cached_view(self, room: RoomId, version: Hashable) -> schemas.Room | None:
        cached = self._cached.get(room)
        if cached is None or cached.version != version:
            return None
        self._cached.move_to_end(room)
        return cached.view

    async def _read(
        self, tx: Transaction, ids: Collection[RoomId], reader: ListReader, views_version: Hashable
    ) -> dict[RoomId, schemas.Room]:
        # Rooms and versions come from the same rows, and the newest messages from a later moment: a cached room may be
        # newer than its version, never older.
        rooms = await tx.rooms.listed(ids, users=reader.users, is_admin=reader.is_admin)
        last = await tx.last_messages.of([room.id for room, _ in rooms])
        views = {}
        for room, version in rooms:
            view = room_view(room, 0, self._identities)
            view["last_message"] = optional_last_message_view(last.get(room.id), self._identities)
            self._store(room.id, _CachedView((version, views_version), view))
            views[room.id] = view.copy()
        return views

    def _store(self, room: RoomId, cached: _CachedView) -> None:
        self._cached[room] = cached
        self._cached.move_to_end(room)
        while len(self._cached) > _MAX_ROOMS:
            self._cached.popitem(last=False)
