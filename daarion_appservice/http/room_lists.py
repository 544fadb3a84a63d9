"""Lists of rooms as JSON, with the last message of each room and, for citizens, what they have not read.

    anonymous and services ─► one list for all, encoded once after each change of the database
    citizens and agents    ─► rooms, last messages and unread counts of this client, cached until the next change

The online members are in memory and change without a commit, so their number is compared at each request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..city.identity import Identities
from ..city.online_members import OnlineMembers
from ..city.reader_memberships import ReaderMemberships
from ..city.types import Author, CitizenId, Message, Room, RoomId
from ..city.unread import RoomUnread
from ..realtime.read_mark_writer import ReadMarkWriter
from ..realtime.unread_counts import count_unread
from ..storage.database import Database, Transaction
from . import schemas
from .auth.principals import Citizen, Principal, author_of, is_admin
from .encoded_response import Encoded
from .unread_views import optional_last_message_view, unread_view
from .views import room_view

_ROOM_BYTES: Final = 4096
"""The estimated size of a room with its last message in the cache."""
_UNREAD_BYTES: Final = 512
"""The estimated size of what a citizen has not read in one room."""


@dataclass(slots=True)
class _PublicList:
    rooms: list[schemas.Room]
    ids: list[RoomId]
    online: list[int]
    """The number of online members of each room when the list was encoded."""
    encoded: Encoded
    is_all: bool
    """Whether every room of the city is listed for all readers."""


@dataclass(frozen=True, slots=True)
class _ReaderList:
    """Rooms as one reader sees them."""

    rooms: Sequence[Room]
    last: dict[RoomId, Message] = field(default_factory=dict)
    unread: dict[RoomId, RoomUnread] | None = None
    """None for a reader who is no citizen."""


@dataclass(frozen=True, slots=True)
class RoomLists:
    """Reads lists of the rooms that are not archived and that a principal may know of."""

    database: Database
    online_members: OnlineMembers
    identities: Identities
    readers: ReaderMemberships
    read_marks: ReadMarkWriter

    async def page(self, principal: Principal, *, sort: str, limit: int, offset: int) -> Encoded:
        """Return a page of the rooms.

        Args:
            principal: the reader.
            sort: a key of ``storage.rooms.ORDERS``.
            limit: the number of rooms.
            offset: the number of rooms to skip.
        """
        if not isinstance(principal, Citizen):
            read = partial(self._read_public, sort, limit, offset)
            key = ("rooms", sort, limit, offset, self.identities.accounts.version)
            found = await self.database.read_cache.get(key, read, _size_of_public_list)
            if found.is_all or not (author_of(principal) or is_admin(principal)):
                return self._public(found)
        await self._store_marks(principal)
        own_key = ("rooms of", _name(principal), sort, limit, offset, self.identities.accounts.version)
        read_own = partial(self._read_own, principal, sort, limit, offset)
        return self._encode(await self.database.read_cache.get(own_key, read_own, _size_of_list))

    async def by_ids(self, principal: Principal, ids: list[str], *, sort: str) -> Encoded:
        """Return those of the rooms with the given ids or slugs that the principal may know of."""
        await self._store_marks(principal)
        async with self.database.read_only() as tx:
            users = await self.readers.users(tx, author_of(principal))
            rooms = await tx.rooms.page(
                sort=sort, limit=len(ids), offset=0, ids=ids, users=users, is_admin=is_admin(principal)
            )
            return self._encode(await self._with_state(tx, principal, rooms))

    async def room_objects(self, principal: Principal, sort: str, limit: int, offset: int = 0) -> list[Room]:
        """Return the rooms of ``page`` as objects."""
        async with self.database.read_only() as tx:
            users = await self.readers.users(tx, author_of(principal))
            return await tx.rooms.page(sort=sort, limit=limit, offset=offset, users=users, is_admin=is_admin(principal))

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

    async def _read_public(self, sort: str, limit: int, offset: int) -> _PublicList:
        async with self.database.read_only() as tx:
            rooms = await tx.rooms.page(sort=sort, limit=limit, offset=offset)
            is_all = not await tx.rooms.has_unlisted()
            last = await tx.last_messages.of([room.id for room in rooms])
        views = self._views(_ReaderList(rooms, last))
        return _PublicList(
            views, [room.id for room in rooms], [view["members_online"] for view in views], Encoded.of(views), is_all
        )

    def _public(self, found: _PublicList) -> Encoded:
        """Return the encoded list, encoded again if the number of online members of a room has changed."""
        online = [self.online_members.members_online(room) for room in found.ids]
        if found.online != online:
            for view, number in zip(found.rooms, online, strict=True):
                view["members_online"] = number
            found.online, found.encoded = online, Encoded.of(found.rooms)
        return found.encoded

    async def _read_own(self, principal: Principal, sort: str, limit: int, offset: int) -> _ReaderList:
        rooms = await self.room_objects(principal, sort, limit, offset)
        async with self.database.read_only() as tx:
            return await self._with_state(tx, principal, rooms)

    async def _with_state(self, tx: Transaction, principal: Principal, rooms: list[Room]) -> _ReaderList:
        author = author_of(principal)
        last = await self._last(tx, principal, [room.id for room in rooms])
        if not isinstance(principal, Citizen):
            return _ReaderList(rooms, last)
        assert author is not None
        return _ReaderList(rooms, last, (await count_unread(tx, self.readers, author)).rooms)

    async def _last(self, tx: Transaction, principal: Principal, rooms: list[RoomId]) -> dict[RoomId, Message]:
        ranges_by_room = await self.readers.ranges_by_room(tx, author_of(principal))
        return await tx.last_messages.of(rooms, ranges_by_room)

    def _encode(self, found: _ReaderList) -> Encoded:
        return Encoded.of(self._views(found))

    def _views(self, found: _ReaderList) -> list[schemas.Room]:
        return [self._view(room, found) for room in found.rooms]

    def _view(self, room: Room, found: _ReaderList) -> schemas.Room:
        view = room_view(room, self.online_members.members_online(room.id), self.identities)
        view["last_message"] = optional_last_message_view(found.last.get(room.id), self.identities)
        if found.unread is not None:
            view.update(unread_view(found.unread.get(room.id, RoomUnread(room.id))))  # type: ignore[typeddict-item]
        return view


def _name(principal: Principal) -> tuple[str, bool]:
    author: Author | None = author_of(principal)
    return ("" if author is None else author.subject, is_admin(principal))


def _size_of_public_list(found: _PublicList) -> int:
    return found.encoded.size + 4 * len(found.encoded.body)


def _size_of_list(found: _ReaderList) -> int:
    return _ROOM_BYTES * (len(found.rooms) + 1)
