"""Restrictions: bans and kicks by moderators on Matrix, and invitations of ghosts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import String, bindparam, delete, select

from ..city.restrictions import Restriction, RestrictionKind
from ..city.types import CitizenId, RoomId, UserId
from .repository import Repository
from .tables import accounts, restrictions
from .upsert import insert

_GHOST: Final = select(bindparam("ghost", type_=String).label("user_id")).subquery()
_OF_PERSON: Final = (
    select(accounts.c.matrix_user_id, restrictions.c.user_id, restrictions.c.kind, restrictions.c.reason)
    .select_from(_GHOST)
    .join(accounts, accounts.c.citizen_id == bindparam("citizen"), isouter=True)
    .join(
        restrictions,
        (restrictions.c.room_id == bindparam("room"))
        & ((restrictions.c.user_id == _GHOST.c.user_id) | (restrictions.c.user_id == accounts.c.matrix_user_id)),
        isouter=True,
    )
)


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

    async def of_person(
        self, room: RoomId, ghost: UserId, citizen: CitizenId
    ) -> tuple[UserId | None, dict[UserId, Restriction]]:
        """Return the linked account of a citizen, and the restrictions of the ghost and of the account in a room."""
        values = {"room": room, "ghost": ghost, "citizen": citizen}
        rows = (await self._connection.execute(_OF_PERSON, values)).all()
        account = rows[0].matrix_user_id
        found = {UserId(row.user_id): Restriction(RestrictionKind(row.kind), row.reason) for row in rows if row.user_id}
        return UserId(account) if account else None, found

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
