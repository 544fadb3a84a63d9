"""Prometheus metrics of Web Push."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import Counter


class PushOutcome(StrEnum):
    """How a push ended, with the value of the metric's label."""

    SENT = "sent"
    """The push service accepted it."""
    FAILED = "failed"
    """The push service refused it, or did not answer."""
    REMOVED = "removed"
    """The push failed, and the subscription was deleted."""
    DROPPED = "dropped"
    """The queue was full, or the database did not answer."""


PUSHES: Final = Counter(
    "daarion_pushes",
    "Web Push messages, by `outcome`: `sent`; `failed`; `removed` (failed, and the subscription was deleted); `dropped` (the "
    "queue was full, or the database did not answer).",
    ("outcome",),
    registry=None,
)
METRICS: Final = (PUSHES,)

for _outcome in PushOutcome:
    PUSHES.labels(_outcome)
