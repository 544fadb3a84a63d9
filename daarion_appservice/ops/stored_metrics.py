"""Metrics of what waits in the database: read for a scrape, at most every few seconds, in any process of the city.

    scrape ─► refresh ─► older than 5 s? ─► one reading for all scrapes, which wait for it at most a second ─► collect

While the database does not answer, these metrics are absent and the scrape succeeds with all others. A slow reading only makes
them older.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..errors import DatabaseError
from ..storage.database import Database
from ..storage.queue_depths import (
    MAX_COUNT,
    ROOM_STATES,
    Inventory,
    Queue,
    QueueDepths,
    read_inventory,
    read_queue_depths,
)

_EVERY_S: Final = 5.0
_INVENTORY_EVERY_S: Final = 60.0
_WAIT_S: Final = 1.0
_OUTDATED_S: Final = 60.0
"""The age after which values are not exported any more, because the reading hangs."""


class StoredMetrics(Collector):
    """Reads the depths of the queues, and the numbers of rooms and ghosts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._depths: QueueDepths | None = None
        self._inventory: Inventory | None = None
        self._read_s = self._inventory_read_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Read the database if the values are too old; return after a second at the latest. Never raises DatabaseError."""
        if self._reading is None:
            if time.monotonic() - self._read_s < _EVERY_S:
                return
            self._reading = asyncio.create_task(self.read())
            self._reading.add_done_callback(self._end_reading)
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await asyncio.shield(self._reading)
        if time.monotonic() - self._read_s > _OUTDATED_S:
            self._forget()

    async def read(self) -> None:
        """Read the database now. If it does not answer, there are no values until the next reading."""
        now_s = time.monotonic()
        try:
            async with self._database.read_only() as tx:
                self._depths = await read_queue_depths(tx)
                if self._inventory is None or now_s - self._inventory_read_s >= _INVENTORY_EVERY_S:
                    self._inventory = await read_inventory(tx)
                    self._inventory_read_s = now_s
        except DatabaseError:
            self._forget()
        self._read_s = now_s

    async def close(self) -> None:
        """Cancel a reading that is in progress."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def _end_reading(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    def _forget(self) -> None:
        self._depths = self._inventory = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with the values of the last reading; ages are those of this moment."""
        yield from _queue_metrics(self._depths)
        yield from _inventory_metrics(self._inventory)


def _queue_metrics(depths: QueueDepths | None) -> Iterator[Metric]:
    some = f"counted up to {MAX_COUNT:,}"
    yield _depth(
        "daarion_inbox_events",
        f"Room events from Matrix by `state`: `new` (they wait to be handled), `dead` (dead letters); {some}.",
        None if depths is None else depths.inbox,
    )
    yield _age(
        "daarion_inbox_oldest_age_seconds",
        "Time since the arrival of the oldest room event that waits; 0 if none waits.",
        None if depths is None else depths.inbox,
    )
    yield _depth(
        "daarion_outbox_entries",
        f"Changes for Matrix by `state`: `new` (they wait to be sent), `failed` (given up); {some}.",
        None if depths is None else depths.outbox,
    )
    yield _age(
        "daarion_outbox_oldest_age_seconds",
        "Time since the oldest change that waits to be sent to Matrix; 0 if none waits.",
        None if depths is None else depths.outbox,
    )
    owed = GaugeMetricFamily("daarion_replies_owed", f"Requests that an agent has not replied to; {some}.")
    if depths is not None:
        owed.add_metric([], sum(depths.replies.counts.values()))
    yield owed
    yield _age(
        "daarion_replies_owed_oldest_age_seconds",
        "Time since the oldest request that an agent has not replied to; 0 if there is none.",
        None if depths is None else depths.replies,
    )
    last = GaugeMetricFamily(
        "daarion_transaction_last_timestamp_seconds",
        "When the last transaction arrived from the homeserver (Unix time).",
    )
    if depths is not None and depths.last_transaction_ms is not None:
        last.add_metric([], depths.last_transaction_ms / 1000)
    yield last


def _inventory_metrics(inventory: Inventory | None) -> Iterator[Metric]:
    rooms = GaugeMetricFamily(
        "daarion_rooms",
        "Rooms by `kind` (`room`, `direct_chat`) and `state`: `linked` with their Matrix room, `pending`, `failed`, `error` (the "
        "link works badly: `room list` says why), `archived`. Counted every minute.",
        labels=["kind", "state"],
    )
    ghosts = GaugeMetricFamily("daarion_ghosts", "Ghosts that are registered at the homeserver. Counted every minute.")
    if inventory is not None:
        for kind in ("room", "direct_chat"):
            for state in ROOM_STATES:
                rooms.add_metric([kind, state], inventory.rooms.get((kind, state), 0))
        ghosts.add_metric([], inventory.ghosts)
    yield from (rooms, ghosts)


def _depth(name: str, documentation: str, queue: Queue | None) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["state"])
    for state, count in ({} if queue is None else queue.counts).items():
        family.add_metric([state], count)
    return family


def _age(name: str, documentation: str, queue: Queue | None) -> Metric:
    family = GaugeMetricFamily(name, documentation)
    if queue is not None:
        family.add_metric([], 0.0 if queue.oldest_ms is None else max(0.0, time.time() - queue.oldest_ms / 1000))
    return family
