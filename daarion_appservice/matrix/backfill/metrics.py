"""Prometheus metrics of events that the homeserver did not deliver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

SWEEP_SECONDS: Final = Histogram(
    "daarion_sweep_seconds",
    "Duration of the comparisons of the homeserver's history with the stored events, one of each reader (the city, or an agent "
    "with its chats), by `result`: `complete`, `failed`.",
    ("result",),
    buckets=(0.01, 0.05, 0.25, 1, 5, 30, 300),
    registry=None,
)
METRICS: Final = (SWEEP_SECONDS,)


@contextmanager
def measured_sweep() -> Iterator[None]:
    """Measure the comparison of the block."""
    began_s, result = time.perf_counter(), "failed"
    try:
        yield
        result = "complete"
    finally:
        SWEEP_SECONDS.labels(result).observe(time.perf_counter() - began_s)


class Missed(StrEnum):
    """The backfill that found missing events, which mostly shows why they were missing."""

    START = "start"
    ABSENCE = "absence"
    WORKER = "worker"
    FEDERATION = "federation"
    BACKFILL = "backfill"


class MissedEvents:
    """The counter ``daarion_events_missed``, with a value for each `Missed` from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._missed = Counter(
            "daarion_events_missed",
            "Matrix events that no transaction delivered and that were fetched, by `reason`: `start` (while this process was not "
            "the leader), `absence` (Synapse was unavailable), `worker` (Synapse was available), `federation` (other homeservers "
            "delivered them late), `backfill` (`room backfill`).",
            ("reason",),
            registry=registry,
        )
        for reason in Missed:
            self._missed.labels(reason)

    def count(self, reason: Missed, count: int) -> None:
        self._missed.labels(reason).inc(count)
