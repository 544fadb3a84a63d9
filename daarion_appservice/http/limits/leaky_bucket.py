"""Limits the rate of client events on one WebSocket.

Not a moving window: a client that continues after its events were refused is a flood, and its WebSocket is closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import RateLimitItem


class LeakyBucket:
    """A leaky bucket for one connection: each event adds 1, and the level drains at the rate of the limit.

    The size of the bucket is the amount of the limit. Events above it are refused and still raise the level; above twice the
    size the bucket is exhausted.
    """

    __slots__ = ("_at_s", "_drain_per_s", "_level", "_now_s", "_size")

    def __init__(self, limit: RateLimitItem, now_s: Callable[[], float] = time.monotonic) -> None:
        self._size = limit.amount
        self._drain_per_s = limit.amount / limit.get_expiry()
        self._now_s = now_s
        self._level = 0.0
        self._at_s = now_s()

    def add(self) -> float:
        """Count one event and return 0; if it is refused, return the seconds until the next one is accepted."""
        now_s = self._now_s()
        self._level = max(0.0, self._level - (now_s - self._at_s) * self._drain_per_s) + 1
        self._at_s = now_s
        excess = self._level - self._size
        return (excess + 1) / self._drain_per_s if excess > 0 else 0.0

    @property
    def is_exhausted(self) -> bool:
        """Whether the client continued at full rate after its events were refused."""
        return self._level > 2 * self._size
