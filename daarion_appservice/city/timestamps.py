"""Plausibility of timestamps from other servers."""

from __future__ import annotations

from typing import Final

_FIRST_EVENT_MS: Final = 1_409_529_600_000
"""1 September 2014, the month of the first Matrix server: an earlier time is invented or from an unset clock."""


def plausible_ms(claimed_ms: int, now_ms: int) -> int:
    """Return the time that an event claims, in milliseconds since 1970; ``now_ms`` if the claim is impossible."""
    return claimed_ms if _FIRST_EVENT_MS <= claimed_ms <= now_ms else now_ms
