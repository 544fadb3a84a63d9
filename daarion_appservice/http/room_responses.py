"""Caches encoded responses with the messages of a room until the room changes.

the page of public messages ─► is the room public? ─yes─► that page
                                     └no─► the page of this reader; readers with equal ranges share it
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ..city.history_visibility import PUBLIC, ReadableRanges, as_seen, is_known_to, is_listed, may_subscribe
from ..city.identity import Identities
from ..city.reader_memberships import ReaderMemberships
from ..city.restrictions import Restriction
from ..city.types import Author, Member, Message, Room, RoomId, UserId
from ..errors import NotFound
from ..storage.database import Database, Transaction
from . import schemas
from .auth.principals import Principal, author_of, is_admin
from .encoded_response import Encoded
from .message_pages import NotReadable, PagePosition, read_messages
from .message_views import message_view

_ROOM_BYTES = 1024
_RANGES_BYTES = 512
"""The estimated size of one reader's ranges in the cache."""


@dataclass(frozen=True, slots=True)
class RoomPageResponse:
    """A room with a page of its messages, encoded as JSON."""

    room: Room
    messages: Encoded
    older_before: int | None = None
    """The ``seq`` of the first message if older ones are known to exist."""
    newer_after: int | None = None
    """The ``seq`` of the last message if newer ones are known to exist."""
    readable: ReadableRanges = PUBLIC
    """The ranges of the room's history that the reader may read."""


@dataclass(frozen=True, slots=True)
class ThreadList:
    """The roots of threads of a room."""

    room: Room
    roots: list[schemas.Message]
    older_before: int | None = None
    """The ``last_seq`` of the last thread if there may be more."""


@dataclass(frozen=True, slots=True)
class CachedRoomResponses:
    database: Database
    identities: Identities
    readers: ReaderMemberships

    async def room(self, id_or_slug: str, principal: Principal, *, limit: int) -> RoomPageResponse:
        """Return a room with the last ``limit`` messages that the principal may read, oldest first.

        Raises:
            NotFound: the room does not exist, or the principal may not know of it.
        """
        return await self._page_for(id_or_slug, principal, PagePosition(), limit)

    async def messages(
        self, id_or_slug: str, principal: Principal, position: PagePosition, *, limit: int
    ) -> RoomPageResponse:
        """Return up to ``limit`` messages that the principal may read, oldest first, from a position in the room's history.

        There are fewer where they would have more than ``message_pages.MAX_PAGE_BYTES``.

        Raises:
            NotFound: the room or a message of ``position`` does not exist, or the principal may not know of it.
        """
        return await self._page_for(id_or_slug, principal, position, limit)

    async def threads(self, id_or_slug: str, principal: Principal, before: int | None, *, limit: int) -> ThreadList:
        """Return the roots of up to ``limit`` threads that the principal may read, the one with the newest reply first.

        Args:
            id_or_slug: id or slug of the room.
            principal: the reader.
            before: only threads whose newest reply has a lower sequence number; None for all.
            limit: the maximum number of threads.

        Raises:
            NotFound: the room does not exist, or the principal may not know of it.
        """
        page = await self._page_for(id_or_slug, principal, PagePosition(), 1)
        room, readable = page.room, page.readable
        if not may_subscribe(room, readable):
            # The summaries count replies up to now, as reactions do.
            return ThreadList(room, [])
        async with self.database.read_only() as tx:
            roots = await tx.threads.roots(room.id, before, limit=limit, readable=readable)
        views = [self._message(room, readable, root) for root in roots]
        last = roots[-1].thread if len(roots) == limit else None
        return ThreadList(room, views, last.last_seq if last is not None else None)

    async def room_without_messages(self, id_or_slug: str) -> Room:
        """Return a room without its messages, without a check of permissions. Raises NotFound."""
        read = partial(self._read_room, id_or_slug)
        return await self.database.read_cache.get(("room", id_or_slug), read, _size_of_room, room=id_or_slug)

    async def members(self, room: RoomId, users: list[UserId]) -> dict[UserId, Member]:
        """Return those of ``users`` who are members of the room, with their display name and avatar in it."""
        if not users:
            return {}
        read = partial(self._read_members, room, users)
        return await self.database.read_cache.get(("members", room, *users), read, _size_of_members)

    async def restriction(self, room: Room, principal: Principal) -> Restriction | None:
        """Return the restriction of the principal in the room; None for a principal who is not an author."""
        author = author_of(principal)
        if author is None:
            return None
        read = partial(self._read_restriction, room.id, author)
        return await self.database.read_cache.get(
            ("restriction", room.id, author.subject), read, lambda _: _RANGES_BYTES
        )

    async def readable_ranges(self, room: Room, principal: Principal) -> ReadableRanges:
        """Return what the principal may read in a room."""
        author = author_of(principal)
        if author is None:
            return PUBLIC
        read = partial(self._read_reading, room, principal)
        key = ("readable", room.id, author.subject)
        return await self.database.read_cache.get(key, read, lambda _: _RANGES_BYTES)

    async def unlisted(self) -> frozenset[RoomId]:
        """Return the rooms that are not listed for all readers."""
        return await self.database.read_cache.get("unlisted rooms", self._read_unlisted, lambda found: 80 * len(found))

    async def _page_for(
        self, id_or_slug: str, principal: Principal, position: PagePosition, limit: int
    ) -> RoomPageResponse:
        page: RoomPageResponse | None = None
        try:
            page = await self._page(id_or_slug, position, limit, PUBLIC)
            room = page.room
        except NotReadable as not_readable:
            room = not_readable.room
        if page is not None and not room.was_private and is_listed(room):
            return page
        readable = await self.readable_ranges(room, principal)
        if not is_known_to(room, readable, is_admin=is_admin(principal)):
            raise _no_such_room(id_or_slug)
        if page is not None and readable == PUBLIC:
            return page
        try:
            return await self._page(id_or_slug, position, limit, readable)
        except NotReadable:
            named = position.around or position.thread
            raise NotFound("no_such_message", f"there is no message {named!r} in the room {room.slug}") from None

    async def _page(
        self, id_or_slug: str, position: PagePosition, limit: int, readable: ReadableRanges
    ) -> RoomPageResponse:
        read = partial(self._read_page, id_or_slug, position, limit, readable)
        key = ("messages", id_or_slug, position, limit, readable, self.identities.views_version)
        return await self.database.read_cache.get(key, read, _size_of_page, room=id_or_slug)

    async def _read_page(
        self, id_or_slug: str, position: PagePosition, limit: int, readable: ReadableRanges
    ) -> RoomPageResponse:
        async with self.database.read_only() as tx:
            room = await _find_room(tx, id_or_slug)
            view = partial(self._message, room, readable)
            found = await read_messages(tx, room, position, limit, readable, view)
        older_before = found.first_seq if found.has_older else None
        newer_after = found.last_seq if found.has_newer else None
        return RoomPageResponse(room, Encoded(found.encoded), older_before, newer_after, readable)

    async def _read_room(self, id_or_slug: str) -> Room:
        async with self.database.read_only() as tx:
            return await _find_room(tx, id_or_slug)

    def _message(self, room: Room, readable: ReadableRanges, message: Message) -> schemas.Message:
        return message_view(as_seen(message, room, readable), self.identities)

    async def _read_reading(self, room: Room, principal: Principal) -> ReadableRanges:
        async with self.database.read_only() as tx:
            return await self.readers.readable_ranges(tx, room, author_of(principal))

    async def _read_restriction(self, room: RoomId, author: Author) -> Restriction | None:
        async with self.database.read_only() as tx:
            return await self.readers.restriction(tx, room, author)

    async def _read_members(self, room: RoomId, users: list[UserId]) -> dict[UserId, Member]:
        async with self.database.read_only() as tx:
            return {member.user_id: member for member in await tx.members.some(room, users)}

    async def _read_unlisted(self) -> frozenset[RoomId]:
        async with self.database.read_only() as tx:
            return frozenset(await tx.rooms.unlisted())


async def _find_room(tx: Transaction, id_or_slug: str) -> Room:
    room = await tx.rooms.find_shown(id_or_slug)
    if room is None:
        raise _no_such_room(id_or_slug)
    return room


def _no_such_room(id_or_slug: str) -> NotFound:
    return NotFound("no_such_room", f"there is no room {id_or_slug!r}")


def _size_of_page(page: RoomPageResponse) -> int:
    rows = len(page.messages.body)  # an estimate of the rows that the page was encoded from
    return page.messages.size + rows


def _size_of_room(room: Room) -> int:
    return _ROOM_BYTES + 4 * (len(room.name) + len(room.description)) + len(room.power_levels)


def _size_of_members(members: dict[UserId, Member]) -> int:
    return sum(
        2 * len(user) + len(member.display_name or "") + len(member.avatar_url or "")
        for user, member in members.items()
    )
