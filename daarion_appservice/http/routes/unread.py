"""The route ``/city/me/unread``: the number of unread messages by room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.history_visibility import PUBLIC, may_see_room
from ...city.reader_memberships import ReaderMemberships
from ...city.types import RoomId
from ...errors import InvalidInput
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access, author_of
from ..id_lists import MAX_CHARS
from ..routing import Call, NoBody, Query, endpoint

_MAX_ROOMS: Final = 100
_MAX_COUNT: Final = 100
"""The count stops here: pages display "99+"."""
_MAX_SEQ: Final = 1 << 62


class ReadMarksQuery(Query):
    since: str = Field(
        max_length=MAX_CHARS,
        description="1 to 100 rooms as `<room_id>:<seq>`, separated by commas; `seq` is that of the last message read.",
        examples=["city_general:17,city_podil:3"],
    )


@dataclass(frozen=True, slots=True)
class UnreadRoutes:
    database: Database
    readers: ReaderMemberships

    @endpoint(
        "GET",
        "/city/me/unread",
        access=Access.READERS,
        query=ReadMarksQuery,
        summary="Count unread messages",
        response=list[schemas.UnreadCount],
    )
    async def count_unread(self, call: Call[NoBody, ReadMarksQuery]) -> list[schemas.UnreadCount]:
        """Counts messages of other authors that the client may read, in the order of the request. Joins, reactions, edits and
        deleted messages do not count. Unknown rooms are omitted.
        """
        marks = _marks(call.query.since)
        author = author_of(call.principal)
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, author)
            rooms = {
                room.id
                for room in await tx.rooms.shown_by_ids(marks)
                if may_see_room(room, ranges_by_room.get(room.id, PUBLIC))
            }
            known = {room: seq for room, seq in marks.items() if room in rooms}
            own = self.readers.authors(author)
            counts = await tx.messages.unread(known, ranges_by_room, exclude=own, limit=_MAX_COUNT)
        return [{"room_id": room, "count": counts[room]} for room in known]


def _marks(since: str) -> dict[RoomId, int]:
    parts = [part.rpartition(":") for part in since.split(",")]
    if len(parts) > _MAX_ROOMS or not all(room and _is_seq(seq) for room, _, seq in parts):
        raise InvalidInput("invalid", f"since: must be 1 to {_MAX_ROOMS} times <room_id>:<seq>", status=422)
    return {RoomId(room): int(seq) for room, _, seq in parts}


def _is_seq(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= _MAX_SEQ
