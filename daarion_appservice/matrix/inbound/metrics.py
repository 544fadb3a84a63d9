"""Prometheus metrics of transactions from the homeserver, and of the processing of their events."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from aiohttp import web
from prometheus_client import Counter, Histogram

from ...errors import InvalidInput
from ...realtime.message_steps import Step, observe_step

_OTHER: Final = "other"


class TransactionResult(StrEnum):
    """What became of a transaction, with the value of the metric's label."""

    STORED = "stored"
    REPEATED = "repeated"
    REFUSED = "refused"
    FAILED = "failed"


class FailureResult(StrEnum):
    """What becomes of an event after a failure, with the value of the metric's label."""

    RETRY = "retry"
    DEAD = "dead"


TRANSACTIONS: Final = Counter(
    "daarion_transactions",
    "Transactions from the homeserver, by `result`: `stored`, `repeated` (stored before), `refused` (wrong token, invalid body), "
    "`failed` (not stored: the homeserver repeats it).",
    ("result",),
    registry=None,
)
TRANSACTION_SECONDS: Final = Histogram(
    "daarion_transaction_seconds",
    "Time from a transaction's head to the response. The homeserver sends the next one after that.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=None,
)
TRANSACTION_BYTES: Final = Histogram(
    "daarion_transaction_size_bytes",
    "Size of the transactions' bodies, unpacked.",
    buckets=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    registry=None,
)
TRANSACTION_EVENTS: Final = Counter(
    "daarion_transaction_events",
    "Events in transactions, by `kind`: `event` (of rooms), `ephemeral` (typing, receipts, presence).",
    ("kind",),
    registry=None,
)
HANDLER_SECONDS: Final = Histogram(
    "daarion_event_handler_seconds",
    "Duration of the handling of one room event, by `type`; `other` are types without a handler.",
    ("type",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
    registry=None,
)
DELAY_SECONDS: Final = Histogram(
    "daarion_inbox_delay_seconds",
    "Time from the arrival of a room event to the commit of its handling.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
    registry=None,
)
FAILURES: Final = Counter(
    "daarion_inbox_failures",
    "Failed attempts to handle a room event, by `result`: `retry`, `dead` (the event is a dead letter now).",
    ("result",),
    registry=None,
)
METRICS: Final = (
    TRANSACTIONS,
    TRANSACTION_SECONDS,
    TRANSACTION_BYTES,
    TRANSACTION_EVENTS,
    HANDLER_SECONDS,
    DELAY_SECONDS,
    FAILURES,
)

for _result in TransactionResult:
    TRANSACTIONS.labels(_result)
for _failure in FailureResult:
    FAILURES.labels(_failure)
_EVENTS: Final = TRANSACTION_EVENTS.labels("event")
_EPHEMERAL: Final = TRANSACTION_EVENTS.labels("ephemeral")


class TransactionMeasurement:
    """The measurement of one transaction; the receiver records what the transaction contains."""

    def __init__(self) -> None:
        self.result = TransactionResult.FAILED
        self.began_s = time.perf_counter()

    def record_stored(self) -> None:
        """Record that the transaction is stored now."""
        observe_step(Step.STORED, time.perf_counter() - self.began_s)

    def record_content(self, *, size_bytes: int, events: int, ephemeral: int) -> None:
        """Record the size of the body and the numbers of its events."""
        TRANSACTION_BYTES.observe(size_bytes)
        _EVENTS.inc(events)
        _EPHEMERAL.inc(ephemeral)


@contextmanager
def measured_transaction() -> Iterator[TransactionMeasurement]:
    """Measure the transaction of the block, and count its result at the end."""
    measurement = TransactionMeasurement()
    try:
        yield measurement
    except (web.HTTPException, InvalidInput):
        measurement.result = TransactionResult.REFUSED
        raise
    finally:
        TRANSACTIONS.labels(measurement.result).inc()
        TRANSACTION_SECONDS.observe(time.perf_counter() - measurement.began_s)


class HandlerTimes:
    """The durations by event type: of those with a handler, and of all others together.

    Args:
        types: the event types that have a handler.
    """

    def __init__(self, types: Collection[str]) -> None:
        self._by_type = {each: HANDLER_SECONDS.labels(each) for each in types}
        self._other = HANDLER_SECONDS.labels(_OTHER)

    @contextmanager
    def measured(self, event_type: str) -> Iterator[None]:
        """Measure the handling of an event in the block."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._by_type.get(event_type, self._other).observe(time.perf_counter() - began_s)
