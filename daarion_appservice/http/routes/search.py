"""The route ``/city/search``: search in messages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from ...city.history_visibility import PUBLIC, ReadableRanges, as_seen, is_known_to, may_see_room
from ...city.identity import Identities
from ...city.reader_memberships import ReaderMemberships
from ...city.search import Excerpt, SearchTerm, read_excerpt, search_terms
from ...city.types import Author, Room, RoomId, SubjectId, author_key
from ...errors import InvalidInput, NotFound, Unavailable
from ...storage.database import Database, Transaction
from ...storage.search import Found, SearchFilter
from .. import schemas
from ..auth.principals import Access, Principal, author_of
from ..message_views import message_view
from ..routing import Call, NoBody, Query, endpoint

_TIMEOUT_S: Final = 5.0
"""How long one search may take, in seconds."""
_DAY: Final = timedelta(days=1)
_MAX_CURSOR: Final = (1 << 63) - 1
_MAX_SUBJECT_CHARS: Final = 255


class SearchQuery(Query):
    q: str = Field(
        min_length=1,
        max_length=200,
        description="The words: a message is found if it has all of them, in any order and inflection. The end of a word may be "
        "missing.",
        examples=["фунікулер"],
    )
    room: str | None = Field(
        None, max_length=80, description="Only messages of this room: an id or a slug.", examples=["podil"]
    )
    author: str | None = Field(
        None,
        max_length=_MAX_SUBJECT_CHARS,
        description="Only messages of this subject: a citizen id, `agent:<slug>` or a Matrix user id.",
        examples=["agent:daarwizz"],
    )
    after: str | None = Field(
        None,
        max_length=40,
        description="Only messages from this time on: RFC 3339, or a date for its begin in UTC.",
        examples=["2026-11-01"],
    )
    before: str | None = Field(
        None,
        max_length=40,
        description="Only messages before this time: RFC 3339, or a date for its end in UTC.",
        examples=["2026-11-30T18:00:00Z"],
    )
    limit: int = Field(20, ge=1, le=50, description="The maximum number of messages.", examples=[20])
    cursor: str | None = Field(
        None, max_length=20, description="`next_cursor` of the page before.", examples=["1882528392732672000"]
    )


@dataclass(frozen=True, slots=True)
class SearchRoutes:
    database: Database
    readers: ReaderMemberships
    identities: Identities

    @endpoint(
        "GET",
        "/city/search",
        access=Access.READERS,
        query=SearchQuery,
        summary="Search messages",
        response=schemas.SearchResults,
        errors=("no_such_room", "query_empty", "search_too_slow"),
    )
    async def search_messages(self, call: Call[NoBody, SearchQuery]) -> schemas.SearchResults:
        """Returns messages of the city's rooms that the client may read, the newest first. Edited messages are found by their
        newest text, deleted ones not at all. Words are compared without inflectional endings (Ukrainian, Russian, English), case,
        apostrophes and stress marks.

        The next page is the one with `cursor` = `next_cursor` and the same other parameters.
        """
        query = call.query
        terms = search_terms(query.q)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._search(call.principal, query, terms)
        except TimeoutError as error:
            raise Unavailable("search_too_slow", "the search took too long: use rarer words or a room") from error

    async def _search(self, principal: Principal, query: SearchQuery, terms: list[SearchTerm]) -> schemas.SearchResults:
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, author_of(principal))
            found = await tx.search.find(
                terms, await self._limits(tx, query, ranges_by_room), ranges_by_room, limit=query.limit + 1
            )
            shown = found[: query.limit]
            rooms = {each.id: each for each in await tx.rooms.shown_by_ids({each.message.room_id for each in shown})}
            position = await tx.key_values.search_position()
        return {
            "results": [
                self._result(
                    each,
                    rooms[each.message.room_id],
                    ranges_by_room.get(each.message.room_id, PUBLIC),
                    await read_excerpt(each.message, terms),
                )
                for each in shown
                if each.message.room_id in rooms
            ],
            "next_cursor": str(shown[-1].number) if len(found) > query.limit else None,
            "complete": position.is_complete,
        }

    async def _limits(
        self, tx: Transaction, query: SearchQuery, ranges_by_room: Mapping[RoomId, ReadableRanges]
    ) -> SearchFilter:
        room = await tx.rooms.find_shown(query.room) if query.room is not None else None
        if query.room is not None and (room is None or not is_known_to(room, ranges_by_room.get(room.id, PUBLIC))):
            raise NotFound("no_such_room", f"there is no room {query.room!r}")
        return SearchFilter(
            room.id if room is not None else None,
            self._authors(query.author),
            _time_ms("after", query.after, at_end=False),
            _time_ms("before", query.before, at_end=True),
            _cursor(query.cursor),
        )

    def _authors(self, subject: str | None) -> tuple[Author, ...]:
        if subject is None:
            return ()
        subjects = self.identities.accounts.subjects_of(SubjectId(subject))
        return tuple(Author(*author_key(each), display_name="") for each in subjects)

    def _result(self, found: Found, room: Room, readable: ReadableRanges, excerpt: Excerpt) -> schemas.SearchResult:
        return {
            "message": message_view(as_seen(found.message, room, readable), self.identities),
            "room": {
                "id": room.id,
                "slug": room.slug,
                "name": room.shown_name if may_see_room(room, readable) else room.slug,
            },
            "excerpt": excerpt.text,
            "highlights": list(excerpt.highlights),
        }


def _time_ms(name: str, value: str | None, *, at_end: bool) -> int | None:
    """Return a time or date in milliseconds since 1970; of a date its begin, or its end."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        if len(value) == len("2026-11-30") and at_end:
            parsed += _DAY
        ms = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("invalid", f"{name}: must be a time (RFC 3339) or a date", status=422) from error
    return min(max(ms, 0), 1 << 42)


def _cursor(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or int(value) > _MAX_CURSOR:
        raise InvalidInput("invalid", "cursor: must be `next_cursor` of the page before", status=422)
    return int(value)
