"""Readable ranges as conditions of queries: ``city.history_visibility`` in SQL.

Of direct chats that Matrix users opened with agents, the pages show those of one person and one agent, and only to the
citizen who is linked with that person, as long as the link lasts and the person is joined (``period_counts``). The text of
encrypted chats is not shown: the operator of the homeserver can link a citizen with any account, and must not read it.

SQLAlchemy caches up to 750 compiled statements for an engine, one for each number and kind of conditions. A statement with the
ranges of 400 rooms took 25 MB there, so only those with few conditions are cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, literal_column, or_
from sqlalchemy.sql.elements import Grouping

from ..city.citizen_pairs import is_chat_id
from ..city.feed_entries import UNNUMBERED
from ..city.history_visibility import OPEN_RULES, PUBLIC, ReadableRanges
from ..city.types import HistoryVisibility, RoomId
from .tables import accounts, feed, membership_periods, messages, rooms

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
    """Return the condition that a feed entry is readable with these readable ranges by room.

    An entry without a number of its own, such as a new name of the room, has the number of the event before it: a member who
    left with that event may not read it.
    """
    last = case((feed.c.kind.in_(UNNUMBERED), feed.c.seq + 1), else_=feed.c.seq)
    # A literal instead of a parameter: only then is the index of public entries used.
    public: ColumnElement[bool] = feed.c.visibility == _WORLD_LITERAL
    private = (
        and_(feed.c.room_id == room, _is_readable(readable, feed.c.visibility, feed.c.seq, last))
        for room, readable in ranges_by_room.items()
    )
    return cached_if_few(or_(public, *private), len(ranges_by_room))


def room_is_listed(columns: Any = rooms.c) -> ColumnElement[bool]:
    """Return the condition that a room is listed for all readers; ``columns`` are those of ``rooms`` or of an alias."""
    return or_(columns.join_rule.in_(_OPEN_RULES), columns.history_visibility == _WORLD_LITERAL)


def chat_is_listed() -> ColumnElement[bool]:
    """Return the condition that a row of ``rooms`` is an open chat of one person and one agent, opened on Matrix."""
    return and_(rooms.c.agent.is_not(None), ~rooms.c.is_group, ~rooms.c.archived)


def room_is_shown() -> ColumnElement[bool]:
    """Return the condition that a row of ``rooms`` has readers in the pages: it is a city room, or a listed chat in clear."""
    return or_(rooms.c.agent.is_(None), and_(chat_is_listed(), ~rooms.c.encrypted))


def account_is_joined(user: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a linked Matrix account is joined to the room of a row of ``rooms`` now.

    Args:
        user: the column or value with the Matrix user id.
    """
    now = membership_periods.alias("now")
    return exists().where(
        now.c.room_id == rooms.c.id,
        now.c.user_id == user,
        now.c.joined_seq.is_not(None),
        now.c.end_seq.is_(None),
        accounts.c.matrix_user_id == now.c.user_id,
    )


def period_counts() -> ColumnElement[bool]:
    """Return the condition that a membership period, joined with its room, lets its user read in the pages.

    In a chat with an agent only the periods of a linked account that is joined now do: neither those of ghosts, nor
    those of an account that left.
    """
    is_own_chat = and_(room_is_shown(), account_is_joined(membership_periods.c.user_id))
    return or_(rooms.c.agent.is_(None), is_own_chat)


def is_in_shown_room(ranges_by_room: Mapping[RoomId, ReadableRanges]) -> ColumnElement[bool]:
    """Return the condition that a row of ``rooms`` is a city room, or a chat with an agent that the reader reads."""
    chats = [room for room in ranges_by_room if is_chat_id(room)]
    return cached_if_few(or_(rooms.c.agent.is_(None), rooms.c.id.in_(chats)), len(chats))


def _is_readable(
    readable: ReadableRanges,
    visibility: ColumnElement[Any],
    seq: ColumnElement[Any],
    last: ColumnElement[Any] | None = None,
) -> ColumnElement[bool]:
    """Return the condition that a range contains ``seq``, and ``last`` if there is one, which is the same or the next number."""
    last = seq if last is None else last
    ranges = {each: readable.ranges(each) for each in HistoryVisibility if each is not _WORLD}
    private = [
        and_(visibility == each, or_(*(_within(seq, last, start, end) for start, end in periods)))
        for each, periods in ranges.items()
        if periods
    ]
    public: ColumnElement[bool] = visibility == _WORLD
    return cached_if_few(or_(public, *private), sum(map(len, ranges.values())))


def _within(seq: ColumnElement[Any], last: ColumnElement[Any], start: int, end: int | None) -> ColumnElement[bool]:
    from_start: ColumnElement[bool] = seq >= start
    return from_start if end is None else and_(from_start, last <= end)
