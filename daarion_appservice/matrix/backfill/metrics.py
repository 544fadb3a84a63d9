"""Prometheus metrics of events that the homeserver did not deliver."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter


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
