"""Rooms and messages that are read again and again: put on the wire once, and kept for as long as nothing is stored.

Who is here is in memory, changes without anything being stored, and is looked at each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import orjson

from ..city.occupancy import Occupancy
from ..city.types import Member, Room, RoomId, UserId
from ..errors import NotFound
from ..matrix.namespace import Namespace
from ..storage.database import Database
from .views import message_view, room_view


@dataclass(frozen=True, slots=True)
class RoomPage:
    """A room and what was last said there, as JSON."""

    room: Room
    messages: orjson.Fragment
    size: int


@dataclass(slots=True)
class _RoomList:
    rooms: list[Room]
    here: list[int]
    """How many members of each were here when it was encoded."""
    encoded: bytes


class RoomPages:
    def __init__(self, database: Database, occupancy: Occupancy, namespace: Namespace) -> None:
        self._database = database
        self._occupancy = occupancy
        self._namespace = namespace

    async def rooms(self, *, sort: str, limit: int, offset: int) -> orjson.Fragment:
        """The rooms that are not archived, in one of ``storage.rooms.ORDERS``."""
        read = partial(self._read_rooms, sort, limit, offset)
        found = await self._database.remembered.get(("rooms", sort, limit, offset), read, _size_of_list)
        here = self._here(found.rooms)
        if found.here != here:
            found.here, found.encoded = here, self._encode(found.rooms)
        return orjson.Fragment(found.encoded)

    async def room(self, id_or_slug: str, *, limit: int) -> RoomPage:
        """A room with its last ``limit`` messages, oldest first. Raises NotFound."""
        return await self._page(id_or_slug, None, limit)

    async def messages(self, id_or_slug: str, before: int | None, *, limit: int) -> orjson.Fragment:
        """Up to ``limit`` messages before that number (None: the last), oldest first. Raises NotFound."""
        return (await self._page(id_or_slug, before, limit)).messages

    async def members(self, room: RoomId, users: list[UserId]) -> dict[UserId, Member]:
        """Those of them who are members of the room, as they are called and look there."""
        if not users:
            return {}
        read = partial(self._read_members, room, users)
        return await self._database.remembered.get(("members", room, *users), read, _size_of_members)

    async def _page(self, id_or_slug: str, before: int | None, limit: int) -> RoomPage:
        read = partial(self._read_page, id_or_slug, before, limit)
        look = partial(self._database.room_versions.of, id_or_slug)
        return await self._database.remembered.get(("messages", id_or_slug, before, limit), read, _size_of_page, look)

    async def _read_page(self, id_or_slug: str, before: int | None, limit: int) -> RoomPage:
        async with self._database.reading() as tx:
            room = await tx.rooms.find(id_or_slug)
            if room is None:
                raise NotFound("no_such_room", f"there is no room {id_or_slug!r}")
            messages = await tx.messages.before(room.id, before, limit=limit)
        encoded = orjson.dumps([message_view(message, self._namespace) for message in messages])
        return RoomPage(room, orjson.Fragment(encoded), len(encoded))

    async def _read_members(self, room: RoomId, users: list[UserId]) -> dict[UserId, Member]:
        async with self._database.reading() as tx:
            return {member.user_id: member for member in await tx.members.some(room, users)}

    async def _read_rooms(self, sort: str, limit: int, offset: int) -> _RoomList:
        async with self._database.reading() as tx:
            rooms = await tx.rooms.page(sort=sort, limit=limit, offset=offset)
        return _RoomList(rooms, self._here(rooms), self._encode(rooms))

    def _here(self, rooms: list[Room]) -> list[int]:
        return [self._occupancy.members_online(room.id) for room in rooms]

    def _encode(self, rooms: list[Room]) -> bytes:
        return orjson.dumps(
            [room_view(room, self._occupancy.members_online(room.id), self._namespace) for room in rooms]
        )


def _size_of_page(page: RoomPage) -> int:
    return 2 * page.size  # with the rows that it was made of


def _size_of_members(members: dict[UserId, Member]) -> int:
    return sum(
        2 * len(user) + len(member.display_name or "") + len(member.avatar_url or "")
        for user, member in members.items()
    )


def _size_of_list(found: _RoomList) -> int:
    return 2 * len(found.encoded)
