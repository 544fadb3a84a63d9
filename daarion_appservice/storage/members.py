"""Members of the city rooms' Matrix rooms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import bindparam, delete, select

from ..city.types import HistoryVisibility, MatrixRoomId, Member, RoomId, UserId
from .media import note_avatars
from .parameter_lists import parts
from .repository import Repository
from .row_mapper import RowMapper
from .tables import members, rooms
from .upsert import insert

_member: Final = RowMapper(Member)
_GET: Final = select(members).where(members.c.room_id == bindparam("room"), members.c.user_id == bindparam("user"))


class MemberRepository(Repository):
    """The table ``members``."""

    async def all(self) -> list[Member]:
        return [_member(row) for row in await self._connection.execute(select(members))]

    async def rooms_with_others(self, domain: str) -> list[MatrixRoomId]:
        """Return the Matrix rooms with members from other homeservers than ``domain``."""
        others = members.c.user_id.not_like("%:" + _escaped(domain), escape="\\")
        found = await self._connection.execute(
            select(rooms.c.matrix_room_id)
            .where(rooms.c.id.in_(select(members.c.room_id).where(others)), rooms.c.matrix_room_id.is_not(None))
            .order_by(rooms.c.id)
        )
        return [MatrixRoomId(room) for room in found.scalars()]

    async def of_room(self, room: RoomId) -> list[Member]:
        return [
            _member(row) for row in await self._connection.execute(select(members).where(members.c.room_id == room))
        ]

    async def some(self, room: RoomId, users: list[UserId]) -> list[Member]:
        found: list[Member] = []
        for part in parts(users):
            rows = await self._connection.execute(
                select(members).where(members.c.room_id == room, members.c.user_id.in_(part))
            )
            found += map(_member, rows)
        return found

    async def public_profiles(self, users: Collection[UserId]) -> dict[UserId, tuple[str | None, str | None]]:
        """Return the display names and avatars that users have in rooms whose new messages everybody may read."""
        profiles: dict[UserId, tuple[str | None, str | None]] = {}
        for part in parts(users):
            rows = await self._connection.execute(
                select(members.c.user_id, members.c.display_name, members.c.avatar_url)
                .join(rooms, rooms.c.id == members.c.room_id)
                .where(members.c.user_id.in_(part), rooms.c.history_visibility == HistoryVisibility.WORLD_READABLE)
                .order_by(rooms.c.id.desc())
            )
            profiles |= {UserId(user): (name, avatar) for user, name, avatar in rows}
        return profiles

    async def get(self, room: RoomId, user: UserId) -> Member | None:
        row = (await self._connection.execute(_GET, {"room": room, "user": user})).first()
        return _member(row) if row else None

    async def rooms_of(self, user: UserId) -> list[RoomId]:
        """Return the rooms of which a user is a member, sorted."""
        found = select(members.c.room_id).where(members.c.user_id == user).order_by(members.c.room_id)
        return [RoomId(room) for room in await self._connection.scalars(found)]

    async def put(self, new: list[Member]) -> None:
        if not new:
            return
        statement = insert(self._connection, members)
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[members.c.room_id, members.c.user_id],
                set_={
                    "display_name": statement.excluded.display_name,
                    "avatar_url": statement.excluded.avatar_url,
                },
            ),
            [_member.values(member) for member in new],
        )
        await note_avatars(self._connection, (member.avatar_url for member in new))

    async def remove(self, room: RoomId, users: list[UserId]) -> None:
        for part in parts(users):
            await self._connection.execute(
                delete(members).where(members.c.room_id == room, members.c.user_id.in_(part))
            )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
