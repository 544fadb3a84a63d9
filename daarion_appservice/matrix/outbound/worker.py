"""The outbound worker: sends each outbox entry once to the homeserver, in order within a room, as its author's ghost.

Each room with waiting entries has a lane, a task that delivers the entries one after the other; lanes are independent of
each other. All lanes wait while the homeserver is down.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import groupby
from typing import Final

import structlog

from ...city.ports import NowMs
from ...city.types import RoomId
from ...errors import DatabaseUnavailable, HomeserverUnavailable
from ...realtime.database_retry import DatabaseRetry
from ...realtime.worker import Worker
from ...storage.database import Database
from ...storage.outbox import OutboxRow
from ..client.monitor import HomeserverMonitor
from . import retry_delays
from .delivery import OutboxDelivery

_BATCH_SIZE: Final = 200
_MAX_WAIT_MS: Final = 2_000
"""The maximum time between two reads of the outbox: another process may store an entry and fail to signal it."""

log = structlog.get_logger()


class OutboundWorker:
    """Reads the outbox, and delivers the entries of each room in order."""

    def __init__(self, database: Database, monitor: HomeserverMonitor, delivery: OutboxDelivery, now_ms: NowMs) -> None:
        self._database = database
        self._monitor = monitor
        self._delivery = delivery
        self._now_ms = now_ms
        self._database_retry = DatabaseRetry("outbox_delivery")
        self._worker = Worker("outbound", idle_s=_MAX_WAIT_MS / 1000, monitor=monitor)
        self._busy: set[RoomId] = set()
        """The rooms with a lane."""
        self._retry_at_ms: dict[RoomId, int] = {}
        """The rooms that wait for a retry, with its time."""

    def wake(self) -> None:
        """Read the outbox soon; rooms that wait for a retry keep waiting."""
        self._worker.wake()

    def resume(self) -> None:
        """Retry all waiting rooms now, because the reason for their delay may be gone."""
        self._retry_at_ms.clear()
        self._worker.wake()

    async def run(self) -> None:
        """Send the entries of the outbox until cancelled. The method can be called again later."""
        async with asyncio.TaskGroup() as lanes:
            await self._worker.run(partial(self._open_lanes, lanes))

    async def _open_lanes(self, lanes: asyncio.TaskGroup) -> float:
        """Start a lane for each room that has waiting entries, no lane yet, and no retry delay.

        Returns:
            The time until the next retry is due, in seconds, or ``_MAX_WAIT_MS`` if that is earlier.
        """
        now_ms = self._now_ms()
        self._retry_at_ms = {room: at_ms for room, at_ms in self._retry_at_ms.items() if at_ms > now_ms}
        while entries := await self._waiting_entries():
            entries.sort(key=lambda entry: (entry.room_id, entry.id))
            for room, of_room in groupby(entries, key=lambda entry: entry.room_id):
                self._busy.add(room)
                lanes.create_task(self._lane(room, list(of_room)))
            if len(entries) < _BATCH_SIZE:
                break
            # A full batch may contain one room only, and other rooms must not wait for it.
        due_ms = min(self._retry_at_ms.values(), default=None)
        wait_ms = _MAX_WAIT_MS if due_ms is None else min(_MAX_WAIT_MS, due_ms - self._now_ms())
        return wait_ms / 1000

    async def _waiting_entries(self) -> list[OutboxRow]:
        excluded = frozenset(self._busy | self._retry_at_ms.keys())
        async with self._database.read_only() as tx:
            return await tx.outbox.waiting(limit=_BATCH_SIZE, not_rooms=excluded)

    async def _lane(self, room: RoomId, entries: list[OutboxRow]) -> None:
        try:
            for entry in entries:
                retry_at_ms = await self._delivery.deliver(entry)
                self._database_retry.record_success()
                if retry_at_ms is not None:
                    self._retry_at_ms[room] = retry_at_ms
                    return
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            self._retry_at_ms[room] = self._now_ms() + retry_delays.UNAVAILABLE_MS
        except DatabaseUnavailable as error:
            # One series for all rooms: an outage is logged once. A refused statement concerns its room only, see below.
            self._retry_at_ms[room] = self._now_ms() + int(self._database_retry.record_failure(error) * 1000)
        except Exception:
            # An unexpected error delays this room only.
            log.exception("room_delivery_failed", room=room)
            self._retry_at_ms[room] = self._now_ms() + retry_delays.UNEXPECTED_ERROR_MS
        finally:
            self._busy.discard(room)
            self._worker.wake()
