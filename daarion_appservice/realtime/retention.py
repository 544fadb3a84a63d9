"""The retention task of the leader: every hour it deletes what is older than the section ``retention`` of the configuration says.

what ─► portions of 200 rows, each in its own transaction ─► pause ─► next portion
room ─► messages, events ─► replies, threads ─► one RESYNC event, by which clients load the room again
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from ..city.identity import Identities
from ..city.ports import NowMs, Publish
from ..city.room_sequence import record_resync
from ..city.types import Author, AuthorKind, RoomId
from ..config import RetentionSettings
from ..storage.database import Database, Transaction
from ..storage.metrics import EXPIRED
from .worker import Worker

_EVERY_S: Final = 3_600.0
_PAUSE_S: Final = 0.05
_DAY_MS: Final = 24 * 3_600_000

log = structlog.get_logger()


class Portion(Protocol):
    """Deletes a portion of what is older than a time in milliseconds since 1970, and returns the number of rows."""

    def __call__(self, tx: Transaction, at_ms: int) -> Awaitable[int]: ...


@dataclass
class Retention:
    """Deletes old data for as long as this process is the leader."""

    database: Database
    settings: RetentionSettings
    identities: Identities
    publish: Publish
    now_ms: NowMs

    def __post_init__(self) -> None:
        self._worker = Worker("retention", idle_s=_EVERY_S)

    async def run(self) -> None:
        """Delete old data every hour until cancelled. Can be called again."""
        await self._worker.run(self.step)

    async def step(self) -> float:
        """Delete everything that is older than its retention; return the seconds until the next time."""
        settings = self.settings
        counts = {"messages": await self._expire_messages(settings.messages_days)}
        portions: list[tuple[str, int, Portion]] = [
            ("feed", settings.feed_days, lambda tx, at_ms: tx.retention.delete_feed(before_ms=at_ms)),
            (
                "interactions",
                settings.interactions_days,
                lambda tx, at_ms: tx.retention.delete_interactions(before_ms=at_ms),
            ),
            (
                "dead_letters",
                settings.dead_letters_days,
                lambda tx, at_ms: tx.retention.forget_dead_letters(before_ms=at_ms),
            ),
            ("media", settings.media_days, lambda tx, at_ms: tx.retention.delete_media(before_ms=at_ms)),
        ]
        for what, days, portion in portions:
            if days:
                counts[what] = await self._repeat(partial(portion, at_ms=self._before_ms(days)))
        for what, count in counts.items():
            EXPIRED.labels(what).inc(count)
        if any(counts.values()):
            log.info("retention_applied", **{what: count for what, count in counts.items() if count})
        return _EVERY_S

    async def _repeat(self, portion: Callable[[Transaction], Awaitable[int]]) -> int:
        """Repeat a portion in transactions of its own until it deletes nothing; return the number of rows."""
        total, count = 0, 1
        while count:
            async with self.database.transaction() as tx:
                count = await portion(tx)
            total += count
            await asyncio.sleep(_PAUSE_S)
        return total

    async def _expire_messages(self, days: int) -> int:
        if not days:
            return 0
        async with self.database.read_only() as tx:
            rooms, unfinished = await tx.retention.rooms(), await tx.key_values.unfinished_retentions()
        await self._forget_removed(unfinished.difference(rooms))
        before_ms = self._before_ms(days)
        return sum([await self._expire_room(room, before_ms, is_unfinished=room in unfinished) for room in rooms])

    async def _forget_removed(self, rooms: Collection[RoomId]) -> None:
        """Delete what is stored about the interrupted retention of rooms that were removed since."""
        for room in rooms:
            async with self.database.transaction() as tx:
                await tx.key_values.end_retention(room)

    async def _expire_room(self, room: RoomId, before_ms: int, *, is_unfinished: bool) -> int:
        """Delete the old messages and events of one room; return the number of messages.

        Args:
            before_ms: older messages and events are deleted, in milliseconds since 1970.
            is_unfinished: whether an earlier run was interrupted, so that clients still have deleted messages.
        """
        async with self.database.read_only() as tx:
            first = await tx.retention.first_seq_to_keep(room, before_ms=before_ms, is_unfinished=is_unfinished)
        if first is None:
            return 0
        total = await self._delete_messages(room, first)
        if total or is_unfinished:  # Otherwise there are only messages that have to stay, such as roots of threads.
            await self._repeat(lambda tx: tx.retention.delete_room_events(room, first, before_ms=before_ms))
            await self._finish(room)
        return total

    async def _delete_messages(self, room: RoomId, first: int) -> int:
        """Delete the messages before the number ``first``; return their number."""

        async def delete_messages(tx: Transaction) -> int:
            await tx.rooms.lock_any(room)
            count, roots = await tx.retention.delete_messages(room, first)
            for root in roots:
                await tx.threads.summarize(root)
            if count:
                await tx.rooms.mark_history_changed(room)
                await tx.key_values.begin_retention(room)
            return count

        return await self._repeat(delete_messages)

    async def _finish(self, room: RoomId) -> None:
        """Make clients load the room again, unless it was removed meanwhile."""
        async with self.database.transaction() as tx:
            if await tx.rooms.lock_any(room) is None:
                return
            await tx.retention.forget_replies(room)
            who = Author(AuthorKind.MATRIX, self.identities.bot, self.identities.bot)
            event = await record_resync(tx, room, who, self.now_ms())
            await tx.key_values.end_retention(room)
        self.publish(event)

    def _before_ms(self, days: int) -> int:
        return self.now_ms() - days * _DAY_MS
