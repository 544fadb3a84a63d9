"""Watermarks: up to which ``/sync`` token, or event of a room, the history on Matrix is stored completely."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from sqlalchemy import delete, select

from ..city.types import MatrixRoomId, UserId
from .repository import Repository
from .tables import complete_points, watermarks
from .upsert import insert


@dataclass(frozen=True, slots=True)
class Watermark:
    """All events in ``rooms`` up to this token of a user's ``/sync`` have been in the inbox."""

    token: str
    rooms: frozenset[MatrixRoomId]


class WatermarkRepository(Repository):
    """The tables ``watermarks`` and ``complete_points``."""

    async def get(self, user: UserId) -> Watermark | None:
        row = (await self._connection.execute(select(watermarks).where(watermarks.c.user_id == user))).first()
        return Watermark(row.token, frozenset(map(MatrixRoomId, orjson.loads(row.rooms)))) if row else None

    async def put(self, user: UserId, mark: Watermark) -> None:
        values = {"token": mark.token, "rooms": orjson.dumps(sorted(mark.rooms)).decode()}
        await self._connection.execute(
            insert(self._connection, watermarks)
            .values(user_id=user, **values)
            .on_conflict_do_update(index_elements=[watermarks.c.user_id], set_=values)
        )

    async def delete(self, user: UserId) -> None:
        await self._connection.execute(delete(watermarks).where(watermarks.c.user_id == user))

    async def point(self, room: MatrixRoomId) -> str | None:
        """Return the id of the event up to which the history of a room with members on other servers is complete."""
        found = await self._connection.execute(
            select(complete_points.c.event_id).where(complete_points.c.matrix_room_id == room)
        )
        return found.scalar()

    async def put_point(self, room: MatrixRoomId, event_id: str) -> None:
        await self._connection.execute(
            insert(self._connection, complete_points)
            .values(matrix_room_id=room, event_id=event_id)
            .on_conflict_do_update(index_elements=[complete_points.c.matrix_room_id], set_={"event_id": event_id})
        )
