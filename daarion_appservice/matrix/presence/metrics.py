"""Prometheus metrics of the presence that is sent to the homeserver, and of the requests for receipts of direct chats."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram


class PresenceUpdateOutcome(StrEnum):
    """How a presence update of one ghost ended, with the value of the metric's label."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    FAILED = "failed"


UPDATES: Final = Counter(
    "daarion_presence_updates",
    "Presence updates of ghosts that were sent to the homeserver, by `result`: `accepted`, `refused`, `rate_limited`, `failed` "
    "(no response).",
    ("result",),
    registry=None,
)
REFRESHES: Final = Counter(
    "daarion_presence_refreshes",
    "Those of the presence updates that repeat an unchanged presence, because the homeserver would set the ghost offline.",
    registry=None,
)
DELAY_SECONDS: Final = Histogram(
    "daarion_presence_delay_seconds",
    "Time from a change of a subject's presence until the homeserver has accepted that of its ghost.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
    registry=None,
)


class ChatPollResult(StrEnum):
    """How a request for the receipts of direct chats ended, with the value of the metric's label."""

    RECEIPTS = "receipts"
    NOTHING = "nothing"
    REFUSED = "refused"
    FAILED = "failed"


CHAT_POLLS: Final = Counter(
    "daarion_chat_receipt_polls",
    "Requests for the read receipts of linked people in direct chats, by `result`: `receipts` (of such chats), `nothing`, "
    "`refused`, `failed` (no response).",
    ("result",),
    registry=None,
)
GHOSTS_ASKING: Final = Gauge(
    "daarion_chat_receipt_ghosts",
    "Ghosts that ask the homeserver for read receipts, because a linked person has unread messages in one of their direct chats.",
    registry=None,
)
METRICS: Final = (UPDATES, REFRESHES, DELAY_SECONDS, CHAT_POLLS, GHOSTS_ASKING)

RESULTS: Final = {result: UPDATES.labels(result) for result in PresenceUpdateOutcome}
"""The counter of each result: ``labels`` takes longer than the increment."""
