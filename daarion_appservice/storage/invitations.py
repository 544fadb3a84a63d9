"""Invitations that are to be declined, until the homeserver has accepted that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update

from ..city.types import MatrixRoomId, UserId
from .repository import Repository
from .row_mapper import RowMapper
from .tables import invitations
from .upsert import insert


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation of a ghost to a room that it does not join."""

    user_id: UserId
    matrix_room_id: MatrixRoomId
    inviter: UserId
    reason: str
    """The reason that the inviter gets."""
    due_at_ms: int
    """When to decline it, in milliseconds since 1970."""


_invitation: Final = RowMapper(Invitation)


class InvitationRepository(Repository):
    """The table ``invitations``."""

    async def add(self, invitation: Invitation) -> None:
        """Store an invitation to be declined; one that waits already is not changed."""
        await self._connection.execute(
            insert(self._connection, invitations).values(_invitation.values(invitation)).on_conflict_do_nothing()
        )

    async def count_pending(self, inviter: UserId) -> int:
        """Return how many invitations of one inviter wait."""
        found = await self._connection.scalar(select(func.count()).where(invitations.c.inviter == inviter))
        return int(found or 0)

    async def due(self, *, now_ms: int, limit: int) -> list[Invitation]:
        """Return the invitations that are due, the oldest first."""
        rows = await self._connection.execute(
            select(invitations).where(invitations.c.due_at_ms <= now_ms).order_by(invitations.c.due_at_ms).limit(limit)
        )
        return [_invitation(row) for row in rows]

    async def postpone(self, invitation: Invitation, *, due_at_ms: int) -> None:
        await self._connection.execute(
            update(invitations).where(*_is(invitation.user_id, invitation.matrix_room_id)).values(due_at_ms=due_at_ms)
        )

    async def delete(self, user: UserId, matrix_room: MatrixRoomId) -> None:
        """Delete an invitation that was declined, withdrawn or accepted."""
        await self._connection.execute(delete(invitations).where(*_is(user, matrix_room)))


def _is(user: UserId, matrix_room: MatrixRoomId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return invitations.c.user_id == user, invitations.c.matrix_room_id == matrix_room
