"""Who may not be in a room, or not speak there, because somebody who looks after it on Matrix said so."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import RoomId, Standing, Stands, UserId
from .tables import standings
from .upsert import insert


class StandingRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, room: RoomId, user: UserId) -> Stands | None:
        """None for everybody who is no worse off than others."""
        row = (
            await self._connection.execute(
                select(standings.c.standing, standings.c.reason).where(
                    standings.c.room_id == room, standings.c.user_id == user
                )
            )
        ).first()
        return Stands(Standing(row.standing), row.reason) if row else None

    async def put(self, room: RoomId, user: UserId, stands: Stands, *, now_ms: int) -> None:
        values = {"standing": stands.standing, "reason": stands.reason, "at_ms": now_ms}
        await self._connection.execute(
            insert(self._connection, standings)
            .values(room_id=room, user_id=user, **values)
            .on_conflict_do_update(index_elements=[standings.c.room_id, standings.c.user_id], set_=values)
        )

    async def forget(self, room: RoomId, user: UserId) -> None:
        """Nothing is held against them any more."""
        await self._connection.execute(
            delete(standings).where(standings.c.room_id == room, standings.c.user_id == user)
        )
