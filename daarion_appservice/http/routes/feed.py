"""The routes ``/city/feed`` and ``/city/home``: the feed and City Home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.feed import front_page
from ...city.feed_entries import FeedEntry
from ...city.history_visibility import PUBLIC, ReadableRanges, are_all_of_member, may_see_room
from ...city.identity import Identities
from ...city.online_counts import OnlineCounts
from ...city.online_members import OnlineMembers
from ...city.reader_memberships import ReaderMemberships
from ...city.timestamps import timestamp
from ...city.types import RoomId
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.principals import Access, author_of
from ..author_views import author_view
from ..room_views import seen_room_view
from ..routing import Call, NoBody, Query, endpoint

_HOME_ENTRIES: Final = 3
_LATEST: Final = 30
"""The number of latest entries from which City Home is selected."""


class FeedPageQuery(Query):
    limit: int = Field(20, ge=1, le=100, description="The maximum number of entries.", examples=[20])
    before: str | None = Field(
        None,
        max_length=26,
        description="Only entries older than the entry with this id.",
        examples=["01M80JJAXG2C1QZP8Y3B6F5T7K"],
    )


class HomePageQuery(Query):
    feed: int = Field(_HOME_ENTRIES, ge=1, le=30, description="The maximum number of feed entries.", examples=[12])


@dataclass(frozen=True, slots=True)
class FeedRoutes:
    database: Database
    online_counts: OnlineCounts
    online_members: OnlineMembers
    identities: Identities
    readers: ReaderMemberships
    second_me_is_available: Callable[[], bool]

    @endpoint(
        "GET",
        "/city/feed",
        access=Access.READERS,
        query=FeedPageQuery,
        summary="List feed entries",
        response=list[schemas.FeedEntry],
    )
    async def list_feed(self, call: Call[NoBody, FeedPageQuery]) -> list[schemas.FeedEntry]:
        """Returns entries of the rooms that the client may read, newest first. The next page is the one with `before` = the `id`
        of the last entry; an empty list is the end. The entry of a deleted message is removed.
        """
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, author_of(call.principal))
            entries = await tx.feed.before(call.query.before, limit=call.query.limit, ranges_by_room=ranges_by_room)
            entry_rooms = await self._rooms_of(tx, entries, ranges_by_room)
        return [self._entry(entry, entry_rooms) for entry in entries]

    @endpoint(
        "GET",
        "/city/home",
        access=Access.READERS,
        query=HomePageQuery,
        summary="Get the content of City Home",
        response=schemas.CityHome,
    )
    async def get_home(self, call: Call[NoBody, HomePageQuery]) -> schemas.CityHome:
        """Returns the online counts, `feed` feed entries and the three most popular rooms."""
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, author_of(call.principal))
            latest = await tx.feed.before(None, limit=_LATEST, ranges_by_room=ranges_by_room)
            entries = front_page(latest, call.query.feed)
            entry_rooms = await self._rooms_of(tx, entries, ranges_by_room)
            users = await self.readers.users(tx, author_of(call.principal))
            has_left = not are_all_of_member(ranges_by_room.values())
            rooms = await tx.rooms.page(sort="popular", limit=_HOME_ENTRIES, offset=0, users=users, has_left=has_left)
        return {
            "online": self.online_counts.summary()["online"],
            "feed": [self._entry(entry, entry_rooms) for entry in entries],
            "popular_rooms": [
                seen_room_view(
                    room,
                    self.online_members.members_online(room.id),
                    self.identities,
                    ranges_by_room.get(room.id, PUBLIC),
                )
                for room in rooms
            ],
            "second_me": {"available": self.second_me_is_available()},
        }

    async def _rooms_of(
        self, tx: Transaction, entries: Sequence[FeedEntry], ranges_by_room: Mapping[RoomId, ReadableRanges]
    ) -> dict[RoomId, schemas.FeedRoom]:
        """Return the rooms of the entries, without rooms whose name the reader may not know."""
        rooms = await tx.rooms.by_ids({entry.room_id for entry in entries if entry.room_id})
        return {
            room.id: {"slug": room.slug, "name": room.name}
            for room in rooms
            if may_see_room(room, ranges_by_room.get(room.id, PUBLIC))
        }

    def _entry(self, entry: FeedEntry, rooms: Mapping[RoomId, schemas.FeedRoom]) -> schemas.FeedEntry:
        return {
            "id": entry.id,
            "kind": entry.kind,
            "room_id": entry.room_id,
            "room": rooms.get(entry.room_id) if entry.room_id else None,
            "actor": author_view(entry.actor, self.identities) if entry.actor else None,
            "payload": entry.payload,
            "created_at": timestamp(entry.created_at_ms),
        }
