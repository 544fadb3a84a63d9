"""The Matrix rooms of city rooms: their links, and the state that the service has applied to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, func, select

from ..city.types import CitizenId, HistoryVisibility, MatrixRoomId, MatrixStatus, Room, RoomId
from .room_columns import IS_CITY_ROOM, RoomColumns, room_of, visibility_values
from .tables import former_matrix_rooms, rooms
from .upsert import insert


@dataclass(frozen=True, slots=True)
class AppliedRoomState:
    """The last known state of a Matrix room, so that a restart sends no state that is set already."""

    name: str | None
    topic: str | None
    in_directory: bool | None
    in_space: MatrixRoomId | None
    archived: bool


@dataclass(frozen=True, slots=True)
class RoomLinkCounts:
    """The links of the city rooms that are not archived.

    Attributes:
        total: the number of rooms.
        linked: how many of them are linked with their Matrix room.
        broken: slug and error of the oldest rooms whose link failed or works badly.
    """

    total: int
    linked: int
    broken: list[tuple[str, str]]


class MatrixRoomRepository(RoomColumns):
    """The table ``former_matrix_rooms``, and the columns of ``rooms`` that describe the Matrix room."""

    async def former_ids(self) -> list[tuple[MatrixRoomId, RoomId]]:
        """Return the Matrix rooms that an upgrade replaced, with their city rooms."""
        found = await self._connection.execute(select(former_matrix_rooms))
        return [(MatrixRoomId(row.matrix_room_id), RoomId(row.room_id)) for row in found]

    async def former_of(self, room: RoomId) -> list[MatrixRoomId]:
        """Return the Matrix rooms of one city room that an upgrade replaced."""
        found = await self._connection.scalars(
            select(former_matrix_rooms.c.matrix_room_id).where(former_matrix_rooms.c.room_id == room)
        )
        return [MatrixRoomId(each) for each in found]

    async def link(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """Link the room with ``matrix_room``; it is pending until the reconciler has checked it."""
        await self._link(room, matrix_room, applied_archived=False, **visibility_values(visibility))

    async def move(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        *,
        former: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """Link the room with ``matrix_room``, which replaced ``former`` by an upgrade.

        The new Matrix room is read-only if the former one was. The room is pending until its members have joined.
        """
        await self._connection.execute(
            insert(self._connection, former_matrix_rooms)
            .values(matrix_room_id=former, room_id=room)
            .on_conflict_do_nothing()
        )
        await self._link(room, matrix_room, **visibility_values(visibility))

    async def _link(self, room: RoomId, matrix_room: MatrixRoomId, **more: Any) -> None:
        await self._update(
            room,
            matrix_room_id=matrix_room,
            matrix_status=MatrixStatus.PENDING,
            matrix_error=None,
            applied_name=None,
            applied_topic=None,
            in_directory=None,
            in_space=None,
            encrypted=False,
            pinned_events=None,
            avatar_url=None,
            **more,
        )

    async def set_status(self, room: RoomId, status: MatrixStatus, error: str | None) -> None:
        await self._update(room, matrix_status=status, matrix_error=error)

    async def count_links(self, *, max_broken: int = 3) -> RoomLinkCounts:
        """Count the links of the city rooms that are not archived, and name ``max_broken`` rooms with an error."""
        open_rooms = and_(IS_CITY_ROOM, ~rooms.c.is_direct, ~rooms.c.archived)
        is_linked = case((rooms.c.matrix_status == MatrixStatus.LINKED, 1))
        counted = await self._connection.execute(select(func.count(), func.count(is_linked)).where(open_rooms))
        total, linked = counted.one()
        broken = await self._connection.execute(
            select(rooms.c.slug, rooms.c.matrix_error)
            .where(open_rooms, rooms.c.matrix_error.is_not(None))
            .order_by(rooms.c.created_at_ms)
            .limit(max_broken)
        )
        return RoomLinkCounts(total, linked, [(row.slug, row.matrix_error) for row in broken])

    async def creator_without_level(self, room: RoomId) -> CitizenId | None:
        """Return the citizen who created the room and has not got a power level for it yet."""
        creator = select(rooms.c.created_by).where(rooms.c.id == room, rooms.c.creator_has_no_level)
        found = await self._connection.scalar(creator)
        return None if found is None else CitizenId(found)

    async def note_level_of_creator(self, room: RoomId) -> None:
        """Note that the creator has got the power level, which moderators may change from then on."""
        await self._update(room, creator_has_no_level=False)

    async def applied_state(self, room: RoomId) -> AppliedRoomState:
        return (await self.with_applied_state(room))[1]

    async def with_applied_state(self, room: RoomId) -> tuple[Room, AppliedRoomState]:
        """Return a room and its applied state as they were at the same time: one statement reads both."""
        row = (await self._connection.execute(select(rooms).where(rooms.c.id == room))).one()
        in_space = MatrixRoomId(row.in_space) if row.in_space else None
        return room_of(row), AppliedRoomState(
            row.applied_name, row.applied_topic, row.in_directory, in_space, row.applied_archived
        )

    async def set_applied_state(self, room: RoomId, applied: AppliedRoomState) -> None:
        await self._update(
            room,
            applied_name=applied.name,
            applied_topic=applied.topic,
            in_directory=applied.in_directory,
            in_space=applied.in_space,
            applied_archived=applied.archived,
        )

    async def set_applied_text(self, room: RoomId, *, name: str | None = None, topic: str | None = None) -> None:
        """Store name or topic of the Matrix room, which may differ from the city room's."""
        values = {"applied_name": name} if name is not None else {}
        await self._update(room, **values | ({"applied_topic": topic} if topic is not None else {}))
