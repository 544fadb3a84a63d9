"""Prometheus metrics of the delivery of outbox entries."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Histogram

from ...city.types import OutboxKind


class SendResult(StrEnum):
    """How an attempt to deliver an entry ended, with the value of the metric's label."""

    SENT = "sent"
    RETRY = "retry"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


SENDS: Final = Counter(
    "daarion_outbox_sends",
    "Attempts to send a change to Matrix, by `kind` of the change and `result`: `sent`, `retry` (an error of the homeserver), "
    "`given_up` (rejected: `message list --failed` has it), `dropped` (nothing was to be sent).",
    ("kind", "result"),
    registry=None,
)
SEND_SECONDS: Final = Histogram(
    "daarion_outbox_send_seconds",
    "Duration of successful requests for one change, with the registration and join of the ghost, by `kind`.",
    ("kind",),
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=None,
)
DELAY_SECONDS: Final = Histogram(
    "daarion_outbox_delay_seconds",
    "Time from a change in the city until the homeserver had accepted it.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600),
    registry=None,
)
METRICS: Final = (SENDS, SEND_SECONDS, DELAY_SECONDS)

COUNTERS: Final = {(kind, result): SENDS.labels(kind, result) for kind in OutboxKind for result in SendResult}
"""The counter of each kind and result: ``labels`` takes longer than the increment."""
SECONDS: Final = {kind: SEND_SECONDS.labels(kind) for kind in OutboxKind}
