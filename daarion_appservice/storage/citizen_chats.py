"""Private rooms of a citizen and another citizen or an agent, and whom citizens block."""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, or_, select, update

from ..city.citizen_pairs import CitizenChat
from ..city.types import CitizenId, MatrixStatus, Room, RoomId, SubjectId, UserId
from .repository import Repository
from .room_columns import NEWEST_FIRST, room_of
from .tables import citizen_blocks, citizen_chats, citizens, members, rooms
from .upsert import insert


class CitizenChatRepository(Repository):
    """The tables ``citizen_chats`` and ``citizen_blocks``."""

    async def add(self, chat: CitizenChat) -> None:
        """Insert a chat whose room exists."""
        await self._connection.execute(
            insert(self._connection, citizen_chats).values(room_id=chat.room, first=chat.first, second=chat.second)
        )

    async def forget(self, erased: SubjectId, deleted: str) -> None:
        """Put the id of a deleted account in the place of an erased citizen or agent; the chats are read-only from then on."""
        for column in (citizen_chats.c.first, citizen_chats.c.second):
            own = column == erased
            chats = select(citizen_chats.c.room_id).where(own)
            await self._connection.execute(
                update(rooms).where(rooms.c.id.in_(chats), rooms.c.is_direct).values(archived=True)
            )
            await self._connection.execute(update(citizen_chats).where(own).values({column.name: deleted}))

    async def of_room(self, room: RoomId) -> CitizenChat | None:
        """Return the chat of a room; None for any other room."""
        found = await self._connection.execute(select(citizen_chats).where(citizen_chats.c.room_id == room))
        row = found.first()
        return CitizenChat(RoomId(row.room_id), SubjectId(row.first), SubjectId(row.second)) if row else None

    async def of(
        self, citizen: CitizenId, *, limit: int, other: SubjectId | None = None
    ) -> list[tuple[CitizenChat, Room]]:
        """Return chats of a citizen with their rooms, the one with the newest event first.

        Args:
            limit: the maximum number of chats.
            other: only the chat with this citizen or agent; None for all.
        """
        table = citizen_chats.c
        pair = or_(table.first == citizen, table.second == citizen)
        if other is not None:
            pair = and_(pair, or_(table.first == other, table.second == other))
        found = await self._connection.execute(
            select(rooms, table.first, table.second)
            .join(citizen_chats, table.room_id == rooms.c.id)
            .where(pair)
            .order_by(*NEWEST_FIRST)
            .limit(limit)
        )
        return [
            (CitizenChat(RoomId(row.id), SubjectId(row.first), SubjectId(row.second)), room_of(row)) for row in found
        ]

    async def pending(self) -> list[Room]:
        """Return the rooms that have no Matrix room yet."""
        found = await self._connection.execute(
            select(rooms)
            .where(rooms.c.is_direct, rooms.c.matrix_status == MatrixStatus.PENDING)
            .order_by(rooms.c.created_at_ms)
        )
        return [room_of(row) for row in found]

    async def is_known(self, citizen: CitizenId, ghost: UserId) -> bool:
        """Return whether a citizen has been in the city: by a heartbeat, or as a member of a room."""
        has_name = exists().where(citizens.c.id == citizen)
        is_member = exists().where(members.c.user_id == ghost)
        return bool(await self._connection.scalar(select(has_name | is_member)))

    async def block(self, citizen: CitizenId, blocked: CitizenId) -> None:
        """Store that a citizen wants no direct messages from another one."""
        values = {"citizen_id": citizen, "blocked": blocked}
        await self._connection.execute(insert(self._connection, citizen_blocks).values(values).on_conflict_do_nothing())

    async def unblock(self, citizen: CitizenId, blocked: CitizenId) -> None:
        """Delete a block."""
        table = citizen_blocks.c
        await self._connection.execute(
            delete(citizen_blocks).where(table.citizen_id == citizen, table.blocked == blocked)
        )

    async def blocked_by(self, citizen: CitizenId) -> set[CitizenId]:
        """Return the citizens from whom a citizen wants no direct messages."""
        table = citizen_blocks.c
        found = await self._connection.execute(select(table.blocked).where(table.citizen_id == citizen))
        return {CitizenId(blocked) for blocked in found.scalars()}
