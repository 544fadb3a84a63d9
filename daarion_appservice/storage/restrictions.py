"""Restrictions: bans and kicks by moderators on Matrix, and invitations of ghosts."""

from __future__ import annotations

from sqlalchemy import delete, select

from ..city.restrictions import Restriction, RestrictionKind
from ..city.types import RoomId, UserId
from .repository import Repository
from .tables import restrictions
from .upsert import insert


class RestrictionRepository(Repository):
    """The table ``restrictions``."""

    async def get(self, room: RoomId, user: UserId) -> Restriction | None:
        """Return the restriction of a user in a room; None if there is none."""
        row = (
            await self._connection.execute(
                select(restrictions.c.kind, restrictions.c.reason).where(
                    restrictions.c.room_id == room, restrictions.c.user_id == user
                )
            )
        ).first()
        return Restriction(RestrictionKind(row.kind), row.reason) if row else None

    async def of_room(self, room: RoomId) -> dict[UserId, Restriction]:
        """Return all restrictions in a room."""
        rows = await self._connection.execute(select(restrictions).where(restrictions.c.room_id == room))
        return {UserId(row.user_id): Restriction(RestrictionKind(row.kind), row.reason) for row in rows}

    async def removed_users(self) -> set[tuple[RoomId, UserId]]:
        """Return all bans and kicks, as pairs of room and user."""
        rows = await self._connection.execute(
            select(restrictions.c.room_id, restrictions.c.user_id).where(
                restrictions.c.kind.in_([RestrictionKind.BANNED, RestrictionKind.KICKED])
            )
        )
        return {(RoomId(row.room_id), UserId(row.user_id)) for row in rows}

    async def put(self, room: RoomId, user: UserId, restriction: Restriction, *, now_ms: int) -> None:
        values = {"kind": restriction.kind, "reason": restriction.reason, "at_ms": now_ms}
        await self._connection.execute(
            insert(self._connection, restrictions)
            .values(room_id=room, user_id=user, **values)
            .on_conflict_do_update(index_elements=[restrictions.c.room_id, restrictions.c.user_id], set_=values)
        )

    async def delete_all(self, room: RoomId) -> None:
        """Delete all restrictions in a room."""
        await self._connection.execute(delete(restrictions).where(restrictions.c.room_id == room))

    async def delete(self, room: RoomId, user: UserId) -> None:
        """Delete the restriction of a user in a room."""
        await self._connection.execute(
            delete(restrictions).where(restrictions.c.room_id == room, restrictions.c.user_id == user)
        )
