"""How fast a client may talk on one WebSocket."""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import RateLimitItem


class TokenBucket:
    """A bucket that each event fills by one, and that drains evenly: a number and a time for each connection, whoever speaks.

    It holds as many as the limit has. What comes while it is full is refused and fills it all the same; with as much again it
    is a flood.
    """

    __slots__ = ("_at_s", "_drain_per_s", "_level", "_now_s", "_size")

    def __init__(self, limit: RateLimitItem, now_s: Callable[[], float] = time.monotonic) -> None:
        self._size = limit.amount
        self._drain_per_s = limit.amount / limit.get_expiry()
        self._now_s = now_s
        self._level = 0.0
        self._at_s = now_s()

    def take(self) -> float:
        """Count one event, and return 0; or return in how many seconds the next one would be taken."""
        now_s = self._now_s()
        self._level = max(0.0, self._level - (now_s - self._at_s) * self._drain_per_s) + 1
        self._at_s = now_s
        excess = self._level - self._size
        return (excess + 1) / self._drain_per_s if excess > 0 else 0.0

    @property
    def is_exhausted(self) -> bool:
        """Whether whoever was refused went on as if nothing had been said."""
        return self._level > 2 * self._size
