"""The read mark writer: stores how far the citizens of this process's clients have read, in batches.

    PUT …/read, city.room.read ─► newest mark of each citizen and timeline ─► tick ─► one transaction

A process that is killed loses the marks of the last tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from ..city.events import LocalUserRead, MembershipChanged
from ..city.types import AuthorKind, CitizenId, MessageId, RoomId
from ..city.unread import ReadMark
from ..storage.database import Database
from .worker import Worker

_TICK_S: Final = 0.5
"""How long marks are collected, in seconds."""
_MAX_OF_TICK: Final = 1_000
_MAX_PENDING: Final = 100_000
"""Marks that wait while the database does not answer; further ones are dropped."""

log = structlog.get_logger()

_Key = tuple[CitizenId, RoomId, MessageId | None]


class ReadMarkWriter:
    """Stores read marks of citizens."""

    def __init__(self, database: Database, *, tick_s: float = _TICK_S) -> None:
        self._database = database
        self._tick_s = tick_s
        self._pending: dict[_Key, ReadMark] = {}
        self._written: dict[tuple[CitizenId, RoomId], int] = {}
        """The highest mark of each citizen and room in the newest batch."""
        self._left: dict[tuple[CitizenId, RoomId], ReadMark] = {}
        """Those of citizens who left the room since: the leave may have deleted marks before the batch stored them."""
        self._writing = asyncio.Lock()
        self._worker = Worker("read_mark_writer", idle_s=None)

    def on_local_read(self, event: LocalUserRead) -> None:
        """Store the read mark of a citizen with the next tick."""
        if event.author.kind is not AuthorKind.CITIZEN:
            return
        citizen = CitizenId(event.author.id)
        key = (citizen, event.room_id, event.thread_root)
        waiting = self._pending.get(key)
        if waiting is None and len(self._pending) >= _MAX_PENDING:
            log.debug("read_mark_dropped", room=event.room_id)
        elif waiting is None or waiting.seq < event.seq:
            self._pending[key] = ReadMark(citizen, event.room_id, event.seq, event.thread_root)
            self._worker.wake()

    def on_membership_changed(self, change: MembershipChanged) -> None:
        """Drop the waiting marks of a citizen who left the room: those that are stored are deleted."""
        if not change.joined:
            citizen = CitizenId(change.subject)
            for key in [key for key in self._pending if key[:2] == (citizen, change.room_id)]:
                del self._pending[key]
            if (seq := self._written.get((citizen, change.room_id))) is not None:
                self._left[citizen, change.room_id] = ReadMark(citizen, change.room_id, seq, None)
                self._worker.wake()

    async def flush(self, citizen: CitizenId) -> None:
        """Store the marks that wait, if one is of this citizen.

        Raises:
            DatabaseError: the database does not answer.
        """
        if any(each[0] == citizen for each in (*self._pending, *self._left)):
            await self._write_batch()

    async def run(self) -> None:
        """Store marks until cancelled."""
        await self._worker.run(self._write)

    async def _write(self) -> None:
        while self._pending or self._left:
            await asyncio.sleep(self._tick_s)
            await self._write_batch()

    async def _write_batch(self) -> None:
        async with self._writing:
            batch = dict(list(self._pending.items())[:_MAX_OF_TICK])
            left = dict(self._left)
            if not batch and not left:
                return
            self._written = _highest(batch.values())
            async with self._database.transaction() as tx:
                for mark in left.values():
                    # What the citizen wrote after the leave has moved a mark beyond it.
                    await tx.read_marks.forget(mark.room, [mark.citizen], up_to=mark.seq)
                await tx.read_marks.advance(list(batch.values()))
            # A further leave, of an equal mark, too, has another object.
            self._left = {each: mark for each, mark in self._left.items() if left.get(each) is not mark}
            for key, mark in batch.items():
                if self._pending.get(key) is mark:
                    del self._pending[key]


def _highest(marks: Iterable[ReadMark]) -> dict[tuple[CitizenId, RoomId], int]:
    highest: dict[tuple[CitizenId, RoomId], int] = {}
    for mark in marks:
        key = (mark.citizen, mark.room)
        highest[key] = max(mark.seq, highest.get(key, mark.seq))
    return highest
