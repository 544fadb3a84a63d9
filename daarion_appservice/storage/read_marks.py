"""Read marks and notification modes of citizens."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, delete, func, select

from ..city.types import CitizenId, MessageId, RoomId, SubjectId, UserId
from ..city.unread import NotificationMode, ReadMark, RoomMarks
from .repository import Repository
from .tables import membership_periods, messages, notification_modes, read_marks, read_receipts, rooms
from .upsert import Insert, for_both, insert


def last_seq_before_join() -> ColumnElement[int]:
    """Return the number up to which a member has read a room by joining it, of a membership period with its room.

    It is that of the join. In a chat that was opened on Matrix no join is an event: the next message has the number of the join.
    """
    joined = membership_periods.c.joined_seq
    return case((rooms.c.agent.is_not(None), joined - 1), else_=joined)


class ReadMarkRepository(Repository):
    """The tables ``read_marks`` and ``notification_modes``."""

    async def advance(self, marks: Collection[ReadMark], *, are_rooms_locked: bool = False) -> None:
        """Move read marks forward. An older mark changes nothing, nor does one of a room that was removed.

        Args:
            are_rooms_locked: whether the transaction has locked the rooms of all marks, so that they exist.
        """
        names = {mark.room for mark in marks}
        known = names if are_rooms_locked else await self._existing(names)
        newest: dict[tuple[str, str, str], int] = {}
        for mark in marks:
            if mark.room not in known:
                continue
            key = (mark.citizen, mark.room, mark.thread_root or "")
            newest[key] = max(mark.seq, newest.get(key, mark.seq))
        rows = [dict(zip(_KEY, key, strict=True)) | {"seq": newest[key]} for key in sorted(newest)]
        if len(rows) == 1:
            await self._write(_ADVANCE[self._connection.dialect.name], rows[0])
        elif rows:
            await self._connection.execute(_forward(insert(self._connection, read_marks).values(rows)))

    async def _existing(self, names: set[RoomId]) -> set[RoomId]:
        found = await self._connection.execute(select(rooms.c.id).where(rooms.c.id.in_(names)))
        return {RoomId(room) for room in found.scalars()}

    async def forget(self, room: RoomId, citizens: Collection[CitizenId], *, up_to: int | None = None) -> None:
        """Delete the read marks of citizens who left a room.

        Args:
            up_to: leaves marks at higher sequence numbers; None deletes all.
        """
        of_citizens = delete(read_marks).where(read_marks.c.room_id == room, read_marks.c.citizen_id.in_(citizens))
        await self._connection.execute(of_citizens if up_to is None else of_citizens.where(read_marks.c.seq <= up_to))

    async def joins(self, users: Collection[UserId], among: Collection[RoomId] | None = None) -> dict[RoomId, int]:
        """Return the rooms that one of these users is a member of, with the number that the newest join reads up to."""
        table = membership_periods.c
        found = await self._connection.execute(
            select(table.room_id, func.max(last_seq_before_join()).label("seq"))
            .join(rooms, rooms.c.id == table.room_id)
            .where(table.user_id.in_(users), table.end_seq.is_(None), table.joined_seq.is_not(None))
            .where(*_among(table.room_id, among))
            .group_by(table.room_id)
        )
        return {RoomId(row.room_id): row.seq for row in found}

    async def of(
        self,
        citizen: CitizenId,
        joins: dict[RoomId, int],
        account: SubjectId | None,
        rooms: Collection[RoomId] | None = None,
    ) -> dict[RoomId, RoomMarks]:
        """Return the read marks by room: the stored ones, the joins, and the receipts of the linked Matrix account.

        Args:
            citizen: the reader.
            joins: the number of the join of each room that the citizen is a member of.
            account: the subject of the linked Matrix account; None without one.
            rooms: only these rooms; None for all.
        """
        marks: dict[RoomId, dict[str, int]] = {room: {"": seq} for room, seq in joins.items()}
        stored = select(read_marks.c.room_id, read_marks.c.thread_root, read_marks.c.seq).where(
            read_marks.c.citizen_id == citizen, *_among(read_marks.c.room_id, rooms)
        )
        _add(marks, await self._connection.execute(stored))
        if account is not None:
            receipts = (
                select(read_receipts.c.room_id, read_receipts.c.thread_root, messages.c.seq)
                .join(messages, messages.c.id == read_receipts.c.message_id)
                .where(read_receipts.c.reader == account, *_among(read_receipts.c.room_id, rooms))
            )
            _add(marks, await self._connection.execute(receipts))
        return {
            room: RoomMarks(found.pop("", None), {MessageId(root): seq for root, seq in found.items()})
            for room, found in marks.items()
        }

    async def modes(
        self, citizen: CitizenId, rooms: Collection[RoomId] | None = None
    ) -> dict[RoomId, NotificationMode]:
        """Return the notification modes of a citizen that differ from the default."""
        table = notification_modes.c
        rows = await self._connection.execute(
            select(table.room_id, table.mode).where(table.citizen_id == citizen, *_among(table.room_id, rooms))
        )
        return {RoomId(row.room_id): NotificationMode(row.mode) for row in rows}

    async def set_mode(self, citizen: CitizenId, room: RoomId, mode: NotificationMode) -> None:
        """Store which messages of a room notify a citizen."""
        table = notification_modes.c
        if mode is NotificationMode.ALL:
            await self._connection.execute(
                delete(notification_modes).where(table.citizen_id == citizen, table.room_id == room)
            )
            return
        await self._connection.execute(
            insert(self._connection, notification_modes)
            .values(citizen_id=citizen, room_id=room, mode=mode)
            .on_conflict_do_update(index_elements=[table.citizen_id, table.room_id], set_={"mode": mode})
        )


_KEY = ("citizen_id", "room_id", "thread_root")


def _forward(statement: Insert) -> Insert:
    newer = statement.excluded.seq
    return statement.on_conflict_do_update(
        index_elements=list(_KEY), set_={"seq": newer}, where=read_marks.c.seq < newer
    ).inline()


_ADVANCE: Final = for_both(lambda insert: _forward(insert(read_marks)))


def _among(column: Any, rooms: Collection[RoomId] | None) -> list[Any]:
    return [] if rooms is None else [and_(column.in_(rooms))]


def _add(marks: dict[RoomId, dict[str, int]], rows: Iterable[Any]) -> None:
    for room, thread_root, seq in rows:
        of_room = marks.setdefault(RoomId(room), {})
        of_room[thread_root] = max(seq, of_room.get(thread_root, seq))
