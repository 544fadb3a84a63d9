"""A moving window rate limit in the memory of this process.

At most N requests pass within any span of the given length. Unlike with fixed windows or a token bucket of size N, a client
does not get 2 N around the turn of a minute or after a pause, and the time until the next accepted request is exact.

(The memory storage of the library ``limits`` was measured as well: it iterates over all keys at each request, 1 ms at 10,000
addresses, or in a permanent thread.)
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from limits import RateLimitItem

MAX_KEYS: Final = 100_000
"""The keys in one generation of a window, which has two; with more keys, the oldest are dropped early."""


class MovingWindow:
    """A moving window for many keys, in the memory of this process.

    The keys are in two generations: a request moves its key to the young one, and the old one is dropped as a whole, so no
    code iterates over the keys.

    Args:
        limit: the number of requests and the length of the window.
        now_s: the clock, in seconds.
    """

    def __init__(self, limit: RateLimitItem, now_s: Callable[[], float]) -> None:
        self._max_requests = limit.amount
        self._span_s = limit.get_expiry()
        self._now_s = now_s
        self._young: dict[str, array[float]] = {}
        self._old: dict[str, array[float]] = {}
        self._generation_since_s = now_s()

    def count(self, key: str) -> float:
        """Count one request and return 0; if the window is full, return the seconds until it accepts another one."""
        now_s = self._now_s()
        if now_s - self._generation_since_s >= self._span_s or len(self._young) >= MAX_KEYS:
            self._old, self._young, self._generation_since_s = self._young, {}, now_s
        times = self._young.get(key)
        if times is None:
            times = self._young[key] = self._old.pop(key, array("d"))
        if times and times[0] <= now_s - self._span_s:
            del times[: bisect_right(times, now_s - self._span_s)]
        if len(times) >= self._max_requests:
            return self._wait_s(times, now_s)
        times.append(now_s)
        return 0.0

    def wait_s(self, key: str) -> float:
        """Return the seconds until the window accepts another request, without counting one."""
        times = self._young.get(key) or self._old.get(key)
        if times is None or len(times) < self._max_requests:
            return 0.0
        return max(self._wait_s(times, self._now_s()), 0.0)

    def __len__(self) -> int:
        """Return the number of keys in memory."""
        return len(self._young) + len(self._old)

    def _wait_s(self, times: array[float], now_s: float) -> float:
        return times[0] + self._span_s - now_s
