"""Conversion between rooms and the columns of ``rooms``, and conditions that several repositories use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal_column, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import HistoryVisibility, Room, RoomId
from .repository import Repository
from .row_mapper import RowMapper
from .tables import rooms

room_of: Final = RowMapper(Room)

_ROW_VERSION: Final[Sequence[ColumnElement[Any]]] = (literal_column("rooms.xmin::text || rooms.ctid::text"),)

IS_CITY_ROOM: Final = rooms.c.agent.is_(None)
NEWEST_FIRST: Final = (func.coalesce(rooms.c.last_event_ms, rooms.c.created_at_ms).desc(), rooms.c.id.desc())
"""The order of direct chats: the one with the newest event first."""
"""The condition that a row is not a direct chat."""


def visibility_values(visibility: HistoryVisibility, *, is_new: bool = False) -> dict[str, Any]:
    """Return the columns for a history visibility: the current one, and which kinds the room has had at any time."""
    is_public = visibility is HistoryVisibility.WORLD_READABLE
    values: dict[str, Any] = {"history_visibility": visibility, "visibility_known": True}
    if is_new:
        return values | {"was_public": is_public, "was_private": not is_public}
    return values | ({"was_public": True} if is_public else {"was_private": True})


def version_columns(connection: AsyncConnection) -> Sequence[ColumnElement[Any]]:
    """Return columns of ``rooms`` that are equal as long as a row is the same (see ``read_versions``)."""
    return _ROW_VERSION if connection.dialect.name == "postgresql" else list(rooms.c)


class RoomColumns(Repository):
    """Writes single columns of ``rooms``."""

    async def _update(self, room: RoomId, **values: Any) -> None:
        if values:
            await self._connection.execute(update(rooms).where(rooms.c.id == room).values(values))
