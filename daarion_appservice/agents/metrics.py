"""Metrics of calls to the agents core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..city.pending_replies import ReplyFailure
from .request import RequestKind

_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120)


REPLIES: Final = Counter(
    "daarion_agent_replies",
    "Requests of agents that are settled, by `outcome`: `replied`; the reason in a notice (`offline`, `slow`, `failed`, `busy`, "
    "`no_core`, `private`, `too_long`, `too_much`, `forgotten`); `abandoned` (nothing was posted).",
    ("outcome",),
    registry=None,
)
REPLY_SECONDS: Final = Histogram(
    "daarion_agent_reply_seconds",
    "Time from a request of an agent until its whole reply was posted.",
    buckets=(0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300),
    registry=None,
)
METRICS: Final = (REPLIES, REPLY_SECONDS)
REPLIED: Final = "replied"
ABANDONED: Final = "abandoned"

for _outcome in (REPLIED, *ReplyFailure, ABANDONED):
    REPLIES.labels(_outcome)


class CallOutcome(StrEnum):
    """How a call ended, with the value of the metric's label."""

    SUCCEEDED = "answered"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """The caller did not wait for the end."""
    BUSY = "busy"
    """Not sent, because too many calls were running."""
    CIRCUIT_OPEN = "circuit_open"
    """Not sent, because the circuit breaker was open."""


class CoreMetrics:
    """Counters, durations and gauges of calls to the agents core."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "daarion_core_calls",
            "Requests to the agents core, by `kind` (`secondme`, `mention`, `direct`) and `outcome`: `answered`, `failed`, "
            "`timeout`, `cancelled` (the caller did not wait), `busy` and `circuit_open` (never sent).",
            ("kind", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "daarion_core_call_seconds",
            "Duration of answered requests to the agents core, by `kind`.",
            ("kind",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._in_flight = Gauge(
            "daarion_core_calls_in_flight", "Requests to the agents core in progress.", registry=registry
        )
        self._is_open = Gauge(
            "daarion_core_breaker_open",
            "1 while the circuit breaker of the agents core is open, else 0.",
            registry=registry,
        )
        for kind in RequestKind:
            self._seconds.labels(kind)
            for outcome in CallOutcome:
                self._calls.labels(kind, outcome)

    def watch_breaker(self, is_open: Callable[[], bool]) -> None:
        self._is_open.set_function(is_open)

    @contextmanager
    def call(self, kind: RequestKind) -> Iterator[CallTimer]:
        """Measure one call; the caller reports its outcome to the yielded object."""
        timer = CallTimer()
        self._in_flight.inc()
        try:
            yield timer
        finally:
            self._in_flight.dec()
            self.count(kind, timer.outcome)
            if timer.outcome is CallOutcome.SUCCEEDED:
                self._seconds.labels(kind).observe(timer.duration_s)

    def count(self, kind: RequestKind, outcome: CallOutcome) -> None:
        """Count a call, sent or not."""
        self._calls.labels(kind, outcome).inc()


class CallTimer:
    """Measures the duration of a call from the creation of this object."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self.outcome = CallOutcome.CANCELLED
        self.duration_s = 0.0

    def end(self, outcome: CallOutcome) -> None:
        self.outcome = outcome
        self.duration_s = time.monotonic() - self._started_s
