"""The events of rooms other than messages, and the joint history of both by sequence number."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import orjson
from sqlalchemy import insert, select
from sqlalchemy.engine import Row

from ..city.restrictions import RestrictionKind
from ..city.room_events import Removal, RoomEvent, RoomEventKind
from ..city.types import Author, AuthorKind, HistoryVisibility, Message, RoomId
from .author_columns import author_in_row, author_values
from .messages import MessageRepository
from .repository import Repository
from .tables import room_events, rooms

_ADD: Final = insert(room_events).inline()


class RoomEventRepository(Repository):
    """The table ``room_events``."""

    async def add(self, events: list[RoomEvent]) -> None:
        """Store events; messages have a table of their own."""
        if len(events) == 1:
            await self._write(_ADD, _values(events[0]))
        elif events:
            await self._connection.execute(_ADD, [_values(event) for event in events])

    async def after(self, room: RoomId, seq: int, *, limit: int) -> list[RoomEvent]:
        """Return up to ``limit`` events and messages after ``seq``, oldest first, messages in their current state."""
        # The upper bound excludes later events: each statement sees what was committed before it, so of two concurrent
        # events the second might be seen without the first.
        last_seq = (await self._connection.execute(select(rooms.c.last_seq).where(rooms.c.id == room))).scalar() or 0
        happened = await self._connection.execute(
            select(room_events)
            .where(room_events.c.room_id == room, room_events.c.seq > seq, room_events.c.seq <= last_seq)
            .order_by(room_events.c.seq)
            .limit(limit)
        )
        found = happened.all()
        changed = await MessageRepository(self._connection).by_ids([row.message_id for row in found if row.message_id])
        others = [_event(row, changed.get(row.message_id)) for row in found]
        messages = [
            RoomEvent(
                room,
                message.seq,
                RoomEventKind.MESSAGE,
                message.created_at_ms,
                message=message,
                visibility=message.visibility,
            )
            for message in await MessageRepository(self._connection).between(room, seq, last_seq, limit=limit)
        ]
        return list(islice(merge(others, messages, key=attrgetter("seq")), limit))


def _values(event: RoomEvent) -> dict[str, Any]:
    assert event.who is not None
    return {
        "room_id": event.room_id,
        "seq": event.seq,
        "kind": event.kind,
        "message_id": event.message.id if event.message else None,
        "key": event.key,
        "added": event.added,
        "at_ms": event.at_ms,
        "visibility": event.visibility,
        "removal": orjson.dumps(event.removal).decode() if event.removal else None,
        **author_values(event.who),
    }


def _event(row: Row[Any], message: Message | None) -> RoomEvent:
    return RoomEvent(
        RoomId(row.room_id),
        row.seq,
        RoomEventKind(row.kind),
        row.at_ms,
        message=message,
        who=author_in_row(row),
        key=row.key,
        added=row.added,
        visibility=HistoryVisibility(row.visibility),
        removal=_removal(orjson.loads(row.removal)) if row.removal else None,
    )


def _removal(stored: dict[str, Any]) -> Removal:
    by = stored["by"]
    author = by and Author(AuthorKind(by["kind"]), by["id"], by["display_name"], by["avatar_url"])
    return Removal(RestrictionKind(stored["kind"]), author, stored["reason"])
