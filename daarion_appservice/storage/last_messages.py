"""The newest message of each room, for lists of rooms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final

from sqlalchemy import Select, not_, select, union_all

from ..city.history_visibility import EVERYTHING, PUBLIC, ReadableRanges
from ..city.types import Message, RoomId
from .message_rows import read_message
from .readable import cached_if_few, message_is_readable
from .repository import Repository
from .tables import messages, rooms

_AT_ONCE: Final = 50
"""The number of rooms with ranges of their own in one statement."""


class LastMessageRepository(Repository):
    """The newest messages of main timelines that are not deleted."""

    async def of(
        self, ids: Collection[RoomId], ranges_by_room: Mapping[RoomId, ReadableRanges] | None = None
    ) -> dict[RoomId, Message]:
        """Return the newest message of each room that a reader may read.

        Args:
            ids: the rooms.
            ranges_by_room: the reader's readable ranges by room, ``PUBLIC`` by default.
        """
        ranges_by_room = {room: ranges for room, ranges in (ranges_by_room or {}).items() if room in set(ids)}
        public = [room for room in ids if room not in ranges_by_room]
        found: list[Message] = []
        if public:
            newest = _newest_id(PUBLIC, rooms.c.id).correlate(rooms).scalar_subquery()
            statement = select(_shown).select_from(rooms).join(_shown, _shown.c.id == newest)
            found += map(read_message, await self._connection.execute(statement.where(rooms.c.id.in_(public))))
        remaining = iter(ranges_by_room.items())
        while part := list(islice(remaining, _AT_ONCE)):
            newest_ids = union_all(*(select(_newest_id(ranges, room).subquery().c.id) for room, ranges in part))
            is_newest = cached_if_few(_shown.c.id.in_(newest_ids), len(part))
            statement = select(_shown).where(is_newest)
            found += map(read_message, await self._connection.execute(statement))
        return {message.room_id: message for message in found}

    async def of_any_visibility(self, ids: Collection[RoomId]) -> dict[RoomId, Message]:
        """Return the newest message of each room, with any history visibility."""
        return await self.of(ids, dict.fromkeys(ids, EVERYTHING))


_shown: Final = messages.alias("shown")


def _newest_id(readable: ReadableRanges, room: Any) -> Select[tuple[str]]:
    table = messages.c
    return (
        select(table.id)
        .where(table.room_id == room, not_(table.deleted), table.thread_root.is_(None))
        .where(table.thread_root_event.is_(None), message_is_readable(readable))
        .order_by(table.seq.desc())
        .limit(1)
    )
