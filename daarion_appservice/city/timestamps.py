"""Timestamps: their text in RFC 3339, and the plausibility of those from other servers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_FIRST_EVENT_MS: Final = 1_409_529_600_000
"""1 September 2014, the month of the first Matrix server: an earlier time is invented or from an unset clock."""


def plausible_ms(claimed_ms: int, now_ms: int) -> int:
    """Return the time that an event claims, in milliseconds since 1970; ``now_ms`` if the claim is impossible."""
    return claimed_ms if _FIRST_EVENT_MS <= claimed_ms <= now_ms else now_ms


def timestamp(ms: int) -> str:
    """Return a time in milliseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_timestamp(ms: int | None) -> str | None:
    """Return a time in milliseconds since 1970 as RFC 3339, and None for None."""
    return None if ms is None else timestamp(ms)
