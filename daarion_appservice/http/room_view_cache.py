"""A cache of the JSON of listed rooms, each with its newest public message, until the room changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..city.history_visibility import PUBLIC, ReadableRanges, is_listed, may_see_activity, room_as_seen
from ..city.identity import Identities
from ..city.types import Room, RoomId, UserId
from ..storage.database import Transaction
from ..storage.rooms import ListedVersions
from . import schemas
from .room_views import room_view
from .unread_views import optional_last_message_view

_MAX_ROOMS: Final = 2000
"""The size of the cache in rooms, about 4 KiB each: four times as many as the longest page of a list has."""


@dataclass(frozen=True, slots=True)
class ListReader:
    """A reader of a list: the Matrix users of the reader, whether it is an admin, and what it may read of private rooms."""

    users: tuple[UserId, ...] = ()
    is_admin: bool = False
    ranges_by_room: Mapping[RoomId, ReadableRanges] = field(default_factory=dict)

    def ranges(self, room: RoomId) -> ReadableRanges:
        return self.ranges_by_room.get(room, PUBLIC)


@dataclass(frozen=True, slots=True)
class _CachedView:
    version: Hashable
    """The versions of the room's row, of linked accounts and of signed links."""
    view: schemas.Room
    """The room as members see it."""
    unlisted: Room | None
    """The room without its power levels, which may be long, if it is not listed for all readers: some see less of it."""


@dataclass(frozen=True, slots=True)
class SeenRooms:
    """Rooms as a reader sees them."""

    views: dict[RoomId, schemas.Room] = field(default_factory=dict)
    """The JSON of the rooms, with 0 online members; a copy, which the caller may change."""
    inactive: set[RoomId] = field(default_factory=set)
    """The rooms whose activity the reader may not see, such as the number of online members."""

    def in_order(self, ids: Collection[RoomId]) -> SeenRooms:
        return SeenRooms({room: self.views[room] for room in ids if room in self.views}, self.inactive)


class RoomViewCache:
    """Returns the JSON of rooms that is equal for all members, and reads only changed rooms from the database."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._cached: OrderedDict[RoomId, _CachedView] = OrderedDict()
        """The most recently used room is at the end."""

    async def views(self, tx: Transaction, listed: ListedVersions, reader: ListReader) -> SeenRooms:
        """Return rooms in the order of ``listed``, without those that are not listed any more.

        Args:
            tx: the transaction to read in.
            listed: the rooms with their versions, as just read for this reader.
            reader: who reads the list.
        """
        views_version = self._identities.views_version
        seen = SeenRooms()
        for room, version in listed.versions.items():
            if (cached := self._cached_view(room, (version, views_version))) is not None:
                self._add(seen, room, cached, reader)
        if changed := listed.versions.keys() - seen.views.keys():
            await self._read(tx, changed, reader, views_version, seen)
        return seen.in_order(listed.versions)

    def _cached_view(self, room: RoomId, version: Hashable) -> _CachedView | None:
        cached = self._cached.get(room)
        if cached is None or cached.version != version:
            return None
        self._cached.move_to_end(room)
        return cached

    def _add(self, seen: SeenRooms, room: RoomId, cached: _CachedView, reader: ListReader) -> None:
        """Add a room as the reader sees it."""
        view, unlisted, readable = cached.view.copy(), cached.unlisted, reader.ranges(room)
        if unlisted is not None and not reader.is_admin and not may_see_activity(unlisted, readable):
            view.update(room_view(room_as_seen(unlisted, readable), 0, self._identities))
            seen.inactive.add(room)
        seen.views[room] = view

    async def _read(
        self,
        tx: Transaction,
        ids: Collection[RoomId],
        reader: ListReader,
        views_version: Hashable,
        seen: SeenRooms,
    ) -> None:
        # Rooms and versions come from the same rows, and the newest messages from a later moment: a cached room may be
        # newer than its version, never older.
        rooms = await tx.rooms.listed(ids, users=reader.users, is_admin=reader.is_admin)
        last = await tx.last_messages.of([room.id for room, _ in rooms])
        for room, version in rooms:
            view = room_view(room, 0, self._identities)
            view["last_message"] = optional_last_message_view(last.get(room.id), self._identities)
            unlisted = None if is_listed(room) else replace(room, power_levels="{}")
            cached = _CachedView((version, views_version), view, unlisted)
            self._store(room.id, cached)
            self._add(seen, room.id, cached, reader)

    def _store(self, room: RoomId, cached: _CachedView) -> None:
        self._cached[room] = cached
        self._cached.move_to_end(room)
        while len(self._cached) > _MAX_ROOMS:
            self._cached.popitem(last=False)
