"""What is counted of events that the homeserver did not deliver."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter


class Missed(StrEnum):
    """When it turned out that events were missing; which tells why they were, most of the time."""

    START = "start"
    ABSENCE = "absence"
    WORKER = "worker"
    FEDERATION = "federation"
    BACKFILL = "backfill"


class MissedEvents:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._missed = Counter(
            "daarion_events_missed",
            "Events of Matrix that no transaction brought, and that were fetched.",
            ("reason",),
            registry=registry,
        )
        for reason in Missed:
            self._missed.labels(reason)

    def count(self, reason: Missed, count: int) -> None:
        self._missed.labels(reason).inc(count)
