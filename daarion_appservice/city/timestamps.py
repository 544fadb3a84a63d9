"""When something happened, if another server's clock says so."""

from __future__ import annotations

from typing import Final

_FIRST_EVENT_MS: Final = 1_409_529_600_000
"""1 September 2014, the month of the first Matrix server: an earlier time comes from a clock that is not set, or is made up."""


def plausible_ms(claimed_ms: int, now_ms: int) -> int:
    """The time that an event claims, in milliseconds since 1970; ``now_ms`` where nothing can have been sent at that time."""
    return claimed_ms if _FIRST_EVENT_MS <= claimed_ms <= now_ms else now_ms
