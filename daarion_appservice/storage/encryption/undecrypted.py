"""Encrypted room events that wait for their key."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, delete, func, select, update

from ...city.types import EventId, MatrixRoomId, MessageId, UserId
from ..parameter_lists import parts
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_undecrypted as undecrypted
from ..upsert import insert
from .megolm_sessions import SessionName
from .saved_rows import COLUMNS


@dataclass(frozen=True, slots=True)
class UndecryptedRow:
    """An encrypted room event whose key did not come yet."""

    event_id: EventId
    room: MatrixRoomId
    session_id: str
    sender: UserId
    event: bytes
    """The JSON of the event as it came."""
    after_message: MessageId | None
    """The last message of the chat before the event; None if there was none."""
    received_at_ms: int
    attempts: int
    next_try_ms: int
    is_announced: bool
    """Whether a notice in the room says that the event could not be read."""
    number: int = field(default=0, compare=False)
    """The order of arrival, which the database assigns."""


_event: Final = RowMapper(UndecryptedRow, COLUMNS)


class UndecryptedRepository(Repository):
    """The table ``encryption_undecrypted``."""

    async def add(self, row: UndecryptedRow) -> None:
        """Store an event; one that is stored already is not changed."""
        values = _event.values(row)
        del values["number"]
        statement = insert(self._connection, undecrypted).values(values)
        await self._connection.execute(statement.on_conflict_do_nothing(index_elements=[undecrypted.c.event_id]))

    async def get(self, event_id: EventId) -> UndecryptedRow | None:
        """Return a waiting event."""
        found = await self._read(select(undecrypted).where(undecrypted.c.event_id == event_id))
        return found[0] if found else None

    async def due(self, now_ms: int, limit: int) -> list[UndecryptedRow]:
        """Return events whose next attempt is due, the longest overdue first, of the same time in the order of arrival.

        Args:
            now_ms: The time now.
            limit: The maximum number of events.
        """
        return await self._read(
            select(undecrypted)
            .where(undecrypted.c.next_try_ms <= now_ms)
            .order_by(undecrypted.c.next_try_ms, undecrypted.c.number)
            .limit(limit)
        )

    async def received_until(self, at_ms: int, limit: int) -> list[UndecryptedRow]:
        """Return events that came at ``at_ms`` or before, in milliseconds since 1970, at most ``limit``, the oldest first."""
        return await self._read(
            select(undecrypted)
            .where(undecrypted.c.received_at_ms <= at_ms)
            .order_by(undecrypted.c.received_at_ms)
            .limit(limit)
        )

    async def rooms(self) -> set[MatrixRoomId]:
        """Return the rooms with events that wait."""
        rows = await self._connection.execute(select(undecrypted.c.matrix_room_id).distinct())
        return {MatrixRoomId(row.matrix_room_id) for row in rows}

    async def waiting_sessions(self, sessions: Collection[SessionName]) -> set[SessionName]:
        """Return those of the sessions for whose key an event waits."""
        found: set[SessionName] = set()
        for part in parts(sessions):
            rows = await self._connection.execute(
                select(undecrypted.c.matrix_room_id, undecrypted.c.session_id)
                .where(undecrypted.c.session_id.in_([session_id for _, session_id in part]))
                .distinct()
            )
            found |= {(MatrixRoomId(row.matrix_room_id), row.session_id) for row in rows}
        return found & set(sessions)

    async def set_after(self, room: MatrixRoomId, old: MessageId | None, new: MessageId, *, later_than: int) -> None:
        """Put events behind a message that was inserted late.

        Args:
            old: The message before the inserted one; None if there was none.
            new: The inserted message.
            later_than: The number of the event that became the message: only later events are behind it.
        """
        after = undecrypted.c.after_message.is_(None) if old is None else undecrypted.c.after_message == old
        await self._connection.execute(
            update(undecrypted)
            .where(undecrypted.c.matrix_room_id == room, after, undecrypted.c.number > later_than)
            .values(after_message=new)
        )

    async def next_try_ms(self) -> int | None:
        """Return the time of the earliest attempt in milliseconds since 1970; None if no event waits."""
        at_ms: int | None = await self._connection.scalar(select(func.min(undecrypted.c.next_try_ms)))
        return at_ms

    async def count_of(self, room: MatrixRoomId, sender: UserId) -> tuple[int, int]:
        """Return how many events of a user wait in a room, and in all rooms."""
        in_room = func.count(case((undecrypted.c.matrix_room_id == room, 1)))
        counted = await self._connection.execute(select(in_room, func.count()).where(undecrypted.c.sender == sender))
        found_in_room, found = counted.one()
        return found_in_room, found

    async def count(self) -> int:
        """Return how many events wait."""
        return int(await self._connection.scalar(select(func.count()).select_from(undecrypted)) or 0)

    async def reschedule(self, event_id: EventId, *, attempts: int, next_try_ms: int, is_announced: bool) -> None:
        """Store the state of an event after an attempt.

        Args:
            event_id: The event.
            attempts: The attempts so far.
            next_try_ms: The time of the next attempt.
            is_announced: Whether a notice in the room says that the event could not be read.
        """
        await self._connection.execute(
            update(undecrypted)
            .where(undecrypted.c.event_id == event_id)
            .values(attempts=attempts, next_try_ms=next_try_ms, is_announced=is_announced)
        )

    async def wake_session(self, room: MatrixRoomId, session_id: str, now_ms: int) -> None:
        """Make the events of a session due, for example when its key came."""
        await self._wake(now_ms, undecrypted.c.matrix_room_id == room, undecrypted.c.session_id == session_id)

    async def wake_room(self, room: MatrixRoomId, now_ms: int) -> None:
        """Make all events of a room due."""
        await self._wake(now_ms, undecrypted.c.matrix_room_id == room)

    async def delete(self, event_id: EventId) -> None:
        """Delete an event that was decrypted or given up."""
        await self._connection.execute(delete(undecrypted).where(undecrypted.c.event_id == event_id))

    async def delete_redacted(self, room: MatrixRoomId, event_id: EventId) -> None:
        """Delete an event of a room that was redacted while it waited."""
        await self._connection.execute(
            delete(undecrypted).where(undecrypted.c.event_id == event_id, undecrypted.c.matrix_room_id == room)
        )

    async def delete_room(self, room: MatrixRoomId) -> None:
        """Delete the events of a room whose chat ends."""
        await self._connection.execute(delete(undecrypted).where(undecrypted.c.matrix_room_id == room))

    async def _wake(self, now_ms: int, *which: ColumnElement[bool]) -> None:
        await self._connection.execute(
            update(undecrypted).where(*which, undecrypted.c.next_try_ms > now_ms).values(next_try_ms=now_ms)
        )

    async def _read(self, statement: Select[Any]) -> list[UndecryptedRow]:
        return [_event(row) for row in await self._connection.execute(statement)]
