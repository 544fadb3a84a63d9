"""Lists of rooms as JSON, with the last message of each room and, for citizens, what they have not read.

    anonymous and services ─► one list for all ─┬─ after a commit: order and versions of the rooms (one query)
    citizens and agents    ─► a list of each    ┘    └─► only rooms that have changed are read (`room_view_cache`)

What a citizen has not read is counted again after each commit. The online members are in memory and change without a
commit, so their number is compared at each request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..city.history_visibility import ReadableRanges, are_all_of_member
from ..city.identity import Identities
from ..city.online_members import OnlineMembers
from ..city.reader_memberships import ReaderMemberships
from ..city.types import Author, CitizenId, RoomId
from ..city.unread import RoomUnread
from ..realtime.read_mark_writer import ReadMarkWriter
from ..realtime.unread_counts import count_unread
from ..storage.database import Database, Transaction
from . import schemas
from .auth.principals import Citizen, Principal, author_of, is_admin
from .encoded_response import Encoded
from .room_view_cache import ListReader, RoomViewCache, SeenRooms
from .unread_views import optional_last_message_view, unread_view

_ROOM_BYTES: Final = 4096
"""The estimated size of a room with its last message in the cache."""
_UNREAD_BYTES: Final = 512
"""The estimated size of what a citizen has not read in one room."""


@dataclass(slots=True)
class _List:
    seen: SeenRooms
    is_all: bool
    """Whether every room of the city is listed for all readers."""
    online: list[int] = field(default_factory=list)
    """The number of online members of each room when the list was encoded."""
    encoded: Encoded | None = None


@dataclass(frozen=True, slots=True)
class RoomLists:
    """Reads lists of the rooms that are not archived and that a principal may know of."""

    database: Database
    online_members: OnlineMembers
    identities: Identities
    readers: ReaderMemberships
    read_marks: ReadMarkWriter
    view_cache: RoomViewCache

    async def page(self, principal: Principal, *, sort: str, limit: int, offset: int) -> Encoded:
        """Return a page of the rooms.

        Args:
            principal: the reader.
            sort: a key of ``storage.room_orders.ORDERS``.
            limit: the number of rooms.
            offset: the number of rooms to skip.
        """
        where = (sort, limit, offset, self.identities.views_version)
        if not isinstance(principal, Citizen):
            read = partial(self._read_public, sort, limit, offset)
            found = await self.database.read_cache.get(("rooms", *where), read, _size_of_list)
            if found.is_all or not (author_of(principal) or is_admin(principal)):
                return self._encode(found)
        await self._store_marks(principal)
        read_own = partial(self._read_own, principal, sort, limit, offset)
        own_key = ("rooms of", _name(principal), *where)
        return self._encode(await self.database.read_cache.get(own_key, read_own, _size_of_list))

    async def by_ids(self, principal: Principal, ids: list[str], *, sort: str) -> Encoded:
        """Return those of the rooms with the given ids or slugs that the principal may know of."""
        await self._store_marks(principal)
        return self._encode(await self._read_own(principal, sort, len(ids), 0, ids))

    async def state(self, principal: Principal, room: RoomId) -> schemas.RoomUnread | None:
        """Return what a citizen has not read in a room; None for other principals."""
        if not isinstance(principal, Citizen):
            return None
        await self._store_marks(principal)
        key = ("unread", principal.id, room, self.identities.accounts.version)
        read = partial(self._read_state, principal, room)
        return unread_view(await self.database.read_cache.get(key, read, lambda _: _UNREAD_BYTES))

    async def _read_state(self, citizen: Citizen, room: RoomId) -> RoomUnread:
        author = author_of(citizen)
        assert author is not None
        async with self.database.read_only() as tx:
            counted = await count_unread(tx, self.readers, author, among=[room])
        return counted.rooms.get(room, RoomUnread(room))

    async def _store_marks(self, principal: Principal) -> None:
        if isinstance(principal, Citizen):
            await self.read_marks.flush(CitizenId(principal.id))

    async def _read_public(self, sort: str, limit: int, offset: int) -> _List:
        async with self.database.read_only() as tx:
            page = await tx.rooms.page_versions(sort=sort, limit=limit, offset=offset)
            return _List(await self.view_cache.views(tx, page, ListReader()), page.is_all)

    async def _read_own(
        self, principal: Principal, sort: str, limit: int, offset: int, ids: Collection[str] = ()
    ) -> _List:
        author = author_of(principal)
        async with self.database.read_only() as tx:
            ranges = await self.readers.ranges_by_room(tx, author)
            reader = ListReader(await self.readers.users(tx, author), is_admin(principal), ranges)
            page = await tx.rooms.page_versions(
                sort=sort,
                limit=limit,
                offset=offset,
                ids=ids,
                users=reader.users,
                is_admin=reader.is_admin,
                has_left=not are_all_of_member(ranges.values()),
            )
            seen = await self.view_cache.views(tx, page, reader)
            if author is not None:
                await self._add_own(tx, principal, author, seen.views, ranges)
        return _List(seen, page.is_all)

    async def _add_own(
        self,
        tx: Transaction,
        principal: Principal,
        author: Author,
        views: dict[RoomId, schemas.Room],
        ranges: Mapping[RoomId, ReadableRanges],
    ) -> None:
        """Add the newest messages that only this reader may read and, for a citizen, what it has not read."""
        private = [room for room in views if room in ranges]
        last = await tx.last_messages.of(private, ranges)
        for room in private:
            views[room]["last_message"] = optional_last_message_view(last.get(room), self.identities)
        if isinstance(principal, Citizen):
            unread = (await count_unread(tx, self.readers, author)).rooms
            for room, view in views.items():
                view.update(unread_view(unread.get(room, RoomUnread(room))))  # type: ignore[typeddict-item]

    def _encode(self, found: _List) -> Encoded:
        """Return the encoded list, encoded again if the number of online members of a room has changed."""
        views, inactive = found.seen.views, found.seen.inactive
        online = [0 if room in inactive else self.online_members.members_online(room) for room in views]
        if found.encoded is None or found.online != online:
            for view, number in zip(views.values(), online, strict=True):
                view["members_online"] = number
            found.online, found.encoded = online, Encoded.of(list(views.values()))
        return found.encoded


def _name(principal: Principal) -> tuple[str, bool]:
    author = author_of(principal)
    return ("" if author is None else author.subject, is_admin(principal))


def _size_of_list(found: _List) -> int:
    return _ROOM_BYTES * (len(found.seen.views) + 1)
