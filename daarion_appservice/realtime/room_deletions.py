"""The deletion of large rooms, as a task of the leader: goes on where a request, or a process that ended, has left off.

DELETE ─► first portion, room archived, noted in ``key_values`` ─► 202
                                   └─► this task: portion ─► pause ─► next portion … ─► room removed
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from ..city.rooms import Rooms
from ..city.types import RoomId
from ..errors import NotFound
from ..storage.database import Database
from .isolation import isolated
from .worker import Worker

_POLL_S: Final = 5.0
_PAUSE_S: Final = 0.02
"""The pause between two portions, in which other writers have the database."""

log = structlog.get_logger()


@dataclass
class RoomDeletions:
    """Deletes the rest of rooms whose removal was begun, for as long as this process is the leader."""

    database: Database
    rooms: Rooms

    def __post_init__(self) -> None:
        self._worker = Worker("room_deletions", idle_s=_POLL_S)

    async def run(self) -> None:
        """Delete rooms until cancelled. Can be called again."""
        await self._worker.run(self.step)

    async def step(self) -> None:
        """Delete all rooms whose removal was begun."""
        async with self.database.read_only() as tx:
            unfinished = await tx.removed_rooms.unfinished()
        for room in sorted(unfinished):
            with isolated("room_deletions", room):
                await self._finish_begun(room)

    async def delete(self, id_or_slug: str) -> None:
        """Delete a room, in as many portions as that takes. Raises NotFound."""
        if not await self.rooms.remove(id_or_slug):
            await self._finish(id_or_slug)

    async def _finish_begun(self, room: RoomId) -> None:
        if await self._finish(room):
            log.info("room_deleted", room=room)
            return
        async with self.database.transaction() as tx:
            # A process of an earlier release removes a room and leaves the note.
            if await tx.rooms.get(room) is None:
                await tx.removed_rooms.end(room)

    async def _finish(self, id_or_slug: str) -> bool:
        """Delete the rest of a room; return False if another process was faster."""
        is_removed = False
        try:
            while not is_removed:
                await asyncio.sleep(_PAUSE_S)
                is_removed = await self.rooms.remove(id_or_slug, is_continued=True)
        except NotFound:
            return False
        return True
