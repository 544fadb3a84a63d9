"""The routes ``/city/feed`` and ``/city/home``: the feed and the front page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import Field

from ...city.feed import front_page
from ...city.feed_entries import FeedEntry
from ...city.history_visibility import PUBLIC, ReadableRanges, may_see_room
from ...city.identity import Identities
from ...city.online_counts import OnlineCounts
from ...city.online_members import OnlineMembers
from ...city.reader_memberships import ReaderMemberships
from ...city.types import RoomId
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.principals import Access, reader
from ..routing import Call, NoBody, NoQuery, Query, endpoint
from ..views import JSON, author_view, moment, room_view

_ON_THE_FRONT_PAGE: Final = 3
_LATEST: Final = 30
"""The number of latest entries that the front page chooses from."""


class FeedPage(Query):
    limit: int = Field(20, ge=1, le=100, description="How many.", examples=[20])
    before: str | None = Field(
        None,
        max_length=26,
        description="The id of an entry: what is older than that.",
        examples=["01M80JJAXG2C1QZP8Y3B6F5T7K"],
    )


class FeedRoutes:
    def __init__(
        self,
        database: Database,
        online_counts: OnlineCounts,
        online_members: OnlineMembers,
        identities: Identities,
        second_me_is_available: Callable[[], bool],
    ) -> None:
        self._database = database
        self._online_counts = online_counts
        self._online_members = online_members
        self._identities = identities
        self._readers = ReaderMemberships(identities)
        self._second_me_is_available = second_me_is_available

    @endpoint(
        "GET",
        "/city/feed",
        who=Access.READERS,
        query=FeedPage,
        summary="What happens in the city",
        answer=list[schemas.FeedEntry],
    )
    async def feed(self, call: Call[NoBody, FeedPage]) -> list[JSON]:
        """Newest first, and only what one may read. For what is older ask again with ``before`` = the ``id`` of the last."""
        async with self._database.reading() as tx:
            readings = await self._readers.readings(tx, reader(call.principal))
            entries = await tx.feed.before(call.query.before, limit=call.query.limit, readings=readings)
            places = await self._places(tx, entries, readings)
        return [self._entry(entry, places) for entry in entries]

    @endpoint("GET", "/city/home", who=Access.READERS, summary="The front page", answer=schemas.Home)
    async def home(self, call: Call[NoBody, NoQuery]) -> JSON:
        async with self._database.reading() as tx:
            readings = await self._readers.readings(tx, reader(call.principal))
            latest = await tx.feed.before(None, limit=_LATEST, readings=readings)
            entries = front_page(latest, _ON_THE_FRONT_PAGE)
            places = await self._places(tx, entries, readings)
            users = await self._readers.users(tx, reader(call.principal))
            rooms = await tx.rooms.page(sort="popular", limit=_ON_THE_FRONT_PAGE, offset=0, users=users)
        return {
            "online": self._online_counts.summary()["online"],
            "feed": [self._entry(entry, places) for entry in entries],
            "popular_rooms": [
                room_view(room, self._online_members.members_online(room.id), self._identities) for room in rooms
            ],
            "second_me": {"available": self._second_me_is_available()},
        }

    async def _places(
        self, tx: Transaction, entries: Sequence[FeedEntry], readings: Mapping[RoomId, ReadableRanges]
    ) -> dict[RoomId, JSON]:
        """Return the rooms of the entries, without rooms whose name the reader may not know."""
        rooms = await tx.rooms.some({entry.room_id for entry in entries if entry.room_id})
        return {
            room.id: {"slug": room.slug, "name": room.name}
            for room in rooms
            if may_see_room(room, readings.get(room.id, PUBLIC))
        }

    def _entry(self, entry: FeedEntry, places: Mapping[RoomId, JSON]) -> JSON:
        return {
            "id": entry.id,
            "kind": entry.kind,
            "room_id": entry.room_id,
            "room": places.get(entry.room_id) if entry.room_id else None,
            "actor": author_view(entry.actor, self._identities) if entry.actor else None,
            "payload": entry.payload,
            "created_at": moment(entry.created_at_ms),
        }
