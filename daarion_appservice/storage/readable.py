"""Readable ranges as conditions of queries: ``city.history_visibility`` in SQL.

SQLAlchemy caches up to 750 compiled statements for an engine, one for each number and kind of conditions. A statement with the
ranges of 400 rooms took 25 MB there, so only those with few conditions are cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, literal_column, or_
from sqlalchemy.sql.elements import Grouping

from ..city.history_visibility import OPEN_RULES, PUBLIC, ReadableRanges
from ..city.types import HistoryVisibility, RoomId
from .tables import feed, messages, rooms

_WORLD = HistoryVisibility.WORLD_READABLE
# Constants, as in partial indexes: neither database uses such an index for a parameter.
_WORLD_LITERAL: Final[ColumnElement[str]] = literal_column(f"'{_WORLD}'")
_OPEN_RULES: Final[list[ColumnElement[str]]] = [literal_column(f"'{rule}'") for rule in OPEN_RULES]
_MOST_CACHED: Final = 8
"""Rooms, or ranges of one room, of a condition whose statements are cached; each takes about 15 kB of a compiled statement."""


class _NotCached(Grouping[bool]):
    """A condition in parentheses, whose statements SQLAlchemy compiles for each execution."""

    inherit_cache = False


def cached_if_few(condition: ColumnElement[bool], number: int) -> ColumnElement[bool]:
    """Return a condition that keeps statements out of the cache of compiled statements if it has many parts.

    Args:
        condition: the condition.
        number: the number of its rooms or ranges, which differs between readers.
    """
    return condition if number <= _MOST_CACHED else _NotCached(condition)


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


def message_is_readable_in(ranges_by_room: Mapping[RoomId, ReadableRanges]) -> ColumnElement[bool]:
    """Return the condition that a message of any room is readable; rooms without ranges are ``PUBLIC``."""
    private = (
        and_(messages.c.room_id == room, message_is_readable(readable)) for room, readable in ranges_by_room.items()
    )
    return cached_if_few(or_(message_is_readable(PUBLIC), *private), len(ranges_by_room))


def entry_is_readable(ranges_by_room: Mapping[RoomId, ReadableRanges]) -> ColumnElement[bool]:
    """Return the condition that a feed entry is readable with these readable ranges by room."""
    # A literal instead of a parameter: only then is the index of public entries used.
    public: ColumnElement[bool] = feed.c.visibility == _WORLD_LITERAL
    private = (
        and_(feed.c.room_id == room, _is_readable(readable, feed.c.visibility, feed.c.seq))
        for room, readable in ranges_by_room.items()
    )
    return cached_if_few(or_(public, *private), len(ranges_by_room))


def room_is_listed(columns: Any = rooms.c) -> ColumnElement[bool]:
    """Return the condition that a room is listed for all readers; ``columns`` are those of ``rooms`` or of an alias."""
    return or_(columns.join_rule.in_(_OPEN_RULES), columns.history_visibility == _WORLD_LITERAL)


def _is_readable(
    readable: ReadableRanges, visibility: ColumnElement[Any], seq: ColumnElement[Any]
) -> ColumnElement[bool]:
    ranges = {each: readable.ranges(each) for each in HistoryVisibility if each is not _WORLD}
    private = [
        and_(visibility == each, or_(*(_within(seq, start, end) for start, end in periods)))
        for each, periods in ranges.items()
        if periods
    ]
    public: ColumnElement[bool] = visibility == _WORLD
    return cached_if_few(or_(public, *private), sum(map(len, ranges.values())))


def _within(seq: ColumnElement[Any], start: int, end: int | None) -> ColumnElement[bool]:
    from_start: ColumnElement[bool] = seq >= start
    return from_start if end is None else and_(from_start, seq <= end)
