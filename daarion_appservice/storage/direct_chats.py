"""Direct chats: Matrix rooms of one person and one agent, stored as rooms with an agent."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select, update

from ..city.types import MatrixRoomId, MatrixStatus, Room, RoomId, UserId
from .room_columns import IS_CITY_ROOM, RoomColumns, room_of
from .tables import rooms


class DirectChatRepository(RoomColumns):
    """The direct chats of the table ``rooms``; the name of a chat is the user id of its inviter."""

    async def pending(self, *, exclude: Collection[RoomId] = (), limit: int | None = None) -> list[Room]:
        """Return the chats that the reconciler has yet to check, oldest first."""
        return await self._with_status(MatrixStatus.PENDING, exclude, limit)

    async def linked(self) -> list[Room]:
        """Return the chats that their agents have joined, oldest first."""
        return await self._with_status(MatrixStatus.LINKED, (), None)

    async def _with_status(self, status: MatrixStatus, exclude: Collection[RoomId], limit: int | None) -> list[Room]:
        chats = ~IS_CITY_ROOM & ~rooms.c.archived & (rooms.c.matrix_status == status) & rooms.c.id.not_in(exclude)
        found = await self._connection.execute(select(rooms).where(chats).order_by(rooms.c.created_at_ms).limit(limit))
        return [room_of(row) for row in found]

    async def count_pending(self, inviter: UserId) -> int:
        """Return how many direct chats with an invitation by this user are still pending."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(rooms)
            .where(
                ~IS_CITY_ROOM, ~rooms.c.archived, rooms.c.matrix_status == MatrixStatus.PENDING, rooms.c.name == inviter
            )
        )
        return int(found.scalar_one())

    async def mark_pending(self, chat: RoomId, *, is_group: bool | None = None) -> None:
        """Mark a direct chat as pending, to be checked by the reconciler.

        Args:
            is_group: whether the chat has other members too; None leaves it unchanged.
        """
        company = {} if is_group is None else {"is_group": is_group}
        await self._update(chat, matrix_status=MatrixStatus.PENDING, archived=False, **company)

    async def mark_linked(self, chat: RoomId, *, is_group: bool) -> None:
        """Mark a direct chat as linked: the agent has joined."""
        await self._update(chat, matrix_status=MatrixStatus.LINKED, matrix_error=None, is_group=is_group)

    async def close(self, chat: RoomId) -> None:
        """Archive a direct chat that the agent has left."""
        await self._update(chat, archived=True)

    async def replace_by_city_room(self, matrix_room: MatrixRoomId) -> None:
        """End the direct chat in this Matrix room, because the Matrix room belongs to a public room."""
        await self._connection.execute(
            update(rooms)
            .where(rooms.c.matrix_room_id == matrix_room, ~IS_CITY_ROOM)
            .values(matrix_room_id=None, archived=True)
        )
