"""The orders of the list of rooms for a reader: a private room that the reader left keeps the place that it had then."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, select

from ..city.types import UserId
from .readable import room_is_listed
from .tables import membership_periods, messages, rooms

ORDERS: Final[dict[str, tuple[ColumnElement[Any], ...]]] = {
    "popular": (rooms.c.popularity.desc(), rooms.c.slug),
    "recent": (func.coalesce(rooms.c.last_event_ms, rooms.c.created_at_ms).desc(), rooms.c.slug),
    "name": (func.lower(rooms.c.name), rooms.c.slug),
}
"""The orders by name, with indexes for each: see ``storage.tables.rooms``."""

_periods: Final = membership_periods.c


def order_for(sort: str, users: Collection[UserId], *, has_left: bool) -> tuple[ColumnElement[Any], ...]:
    """Return an order as the reader may know it: by what ``history_visibility.room_as_seen`` shows of each room.

    Args:
        sort: a key of ``ORDERS``.
        users: the user ids of the reader.
        has_left: whether there may be rooms that one of these users left. Without one the order has an index.
    """
    if not users or not has_left:
        return ORDERS[sort]
    of_reader = (_periods.room_id == rooms.c.id, _periods.user_id.in_(users))
    is_present = exists().where(*of_reader, _periods.end_seq.is_(None))
    is_joined = exists().where(*of_reader, _periods.end_seq.is_(None), _periods.joined_seq.is_not(None))
    # As `may_see_activity` and `may_see_room`.
    is_quiet, is_past = and_(~room_is_listed(), ~is_joined), and_(~room_is_listed(), ~is_present)
    match sort:
        case "popular":
            return case((is_quiet, literal(0.0)), else_=rooms.c.popularity).desc(), rooms.c.slug
        case "recent":
            shown_ms = case((is_quiet, _last_read_ms(*of_reader)), else_=rooms.c.last_event_ms)
            return func.coalesce(shown_ms, rooms.c.created_at_ms).desc(), rooms.c.slug
    return case((is_past, rooms.c.slug), else_=func.lower(rooms.c.name)), rooms.c.slug


def _last_read_ms(*of_reader: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return the time of the newest message before the reader's last leave."""
    joined = (*of_reader, _periods.joined_seq.is_not(None))
    last_seq = select(func.max(_periods.end_seq)).where(*joined).correlate(rooms).scalar_subquery()
    newest = select(messages.c.created_at_ms).where(messages.c.room_id == rooms.c.id, messages.c.seq <= last_seq)
    return newest.order_by(messages.c.seq.desc()).limit(1).correlate(rooms).scalar_subquery()
