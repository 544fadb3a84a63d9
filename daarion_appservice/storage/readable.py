"""Readable ranges as conditions of queries: ``city.history_visibility`` in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, literal_column, or_

from ..city.history_visibility import OPEN_RULES, ReadableRanges
from ..city.types import HistoryVisibility, RoomId
from .tables import feed, messages, rooms

_WORLD = HistoryVisibility.WORLD_READABLE


def message_is_readable(readable: ReadableRanges) -> ColumnElement[bool]:
    """Return the condition that a message is readable: its sequence number, and that of its newest edit."""
    table = messages.c
    return and_(
        _is_readable(readable, table.visibility, table.seq),
        or_(
            table.edit_seq.is_(None),
            table.edit_visibility == _WORLD,
            _is_readable(readable, table.edit_visibility, table.edit_seq),
        ),
    )


def entry_is_readable(ranges_by_room: Mapping[RoomId, ReadableRanges]) -> ColumnElement[bool]:
    """Return the condition that a feed entry is readable with these readable ranges by room."""
    # A literal instead of a parameter: only then is the index of public entries used.
    public: ColumnElement[bool] = feed.c.visibility == literal_column(f"'{_WORLD}'")
    return or_(
        public,
        *(
            and_(feed.c.room_id == room, _is_readable(readable, feed.c.visibility, feed.c.seq))
            for room, readable in ranges_by_room.items()
        ),
    )


def room_is_listed(columns: Any = rooms.c) -> ColumnElement[bool]:
    """Return the condition that a room is listed for all readers; ``columns`` are those of ``rooms`` or of an alias."""
    is_open: ColumnElement[bool] = columns.join_rule.in_(OPEN_RULES)
    return or_(is_open, columns.history_visibility == _WORLD)


def _is_readable(
    readable: ReadableRanges, visibility: ColumnElement[Any], seq: ColumnElement[Any]
) -> ColumnElement[bool]:
    private = [
        and_(visibility == each, or_(*(_within(seq, start, end) for start, end in ranges)))
        for each in HistoryVisibility
        if each is not _WORLD and (ranges := readable.ranges(each))
    ]
    public: ColumnElement[bool] = visibility == _WORLD
    return or_(public, *private)


def _within(seq: ColumnElement[Any], start: int, end: int | None) -> ColumnElement[bool]:
    from_start: ColumnElement[bool] = seq >= start
    return from_start if end is None else and_(from_start, seq <= end)
