"""Moving window rate limits, in memory and in Redis.

At most N requests pass within any span of the given length. Unlike with fixed windows, a client does not get 2 N around the
turn of a minute, and the time until the next accepted request is exact.

``MovingWindow`` counts in this process. (The memory storage of the library ``limits`` was measured as well: it iterates over
all keys at each request, 1 ms at 10,000 addresses, or in a permanent thread.)
``SharedBuckets`` counts in Redis for all processes of the city, with that library.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from ...realtime.redis_client import REDIS_ERRORS, Client, ask

MAX_REMEMBERED: Final = 100_000
"""The keys in one generation of a window, which has two; with more keys, the oldest are dropped early."""

_TIMEOUT_S: Final = 0.5
"""How long a request waits for Redis before it is counted in this process."""
_AWAY_S: Final = 5.0
"""How long no request is sent to Redis after it did not answer."""
_SOON_S: Final = 0.001

log = structlog.get_logger()

NowS = Callable[[], float]


class MovingWindow:
    """A moving window for many keys, in the memory of this process.

    The keys are in two generations: a request moves its key to the young one, and the old one is dropped as a whole, so no
    code iterates over the keys.

    Args:
        limit: the number of requests and the length of the window.
        now_s: the clock, in seconds.
    """

    def __init__(self, limit: RateLimitItem, now_s: NowS) -> None:
        self._amount = limit.amount
        self._span_s = limit.get_expiry()
        self._now_s = now_s
        self._young: dict[str, array[float]] = {}
        self._old: dict[str, array[float]] = {}
        self._turned_s = now_s()

    def take(self, who: str) -> float:
        """Count one request and return 0; if the window is full, return the seconds until it accepts another one."""
        now_s = self._now_s()
        if now_s - self._turned_s >= self._span_s or len(self._young) >= MAX_REMEMBERED:
            self._old, self._young, self._turned_s = self._young, {}, now_s
        times = self._young.get(who)
        if times is None:
            times = self._young[who] = self._old.pop(who, array("d"))
        if times and times[0] <= now_s - self._span_s:
            del times[: bisect_right(times, now_s - self._span_s)]
        if len(times) >= self._amount:
            return self._wait_s(times, now_s)
        times.append(now_s)
        return 0.0

    def wait_s(self, who: str) -> float:
        """Return the seconds until the window accepts another request, without counting one."""
        times = self._young.get(who) or self._old.get(who)
        if times is None or len(times) < self._amount:
            return 0.0
        return max(self._wait_s(times, self._now_s()), 0.0)

    @property
    def remembered(self) -> int:
        """The number of keys in memory."""
        return len(self._young) + len(self._old)

    def _wait_s(self, times: array[float], now_s: float) -> float:
        return times[0] + self._span_s - now_s


class SharedBuckets:
    """Moving windows in Redis, under keys ``city:limits:…`` that expire."""

    def __init__(self, client: Client, now_s: NowS = time.monotonic) -> None:
        self._limiter = MovingWindowRateLimiter(_Storage(client))
        self._now_s = now_s
        self._full_until_s: dict[str, float] = {}
        """By key of a full window: the time before which Redis need not be asked."""
        self._is_away = False
        self._try_again_s = 0.0

    async def take(self, limit: RateLimitItem, who: str) -> float | None:
        """Count one request, like ``MovingWindow.take``; return None while Redis does not answer."""
        if wait_s := self.wait_s(limit, who):
            return wait_s
        now_s = self._now_s()
        if self._is_away:
            if now_s < self._try_again_s:
                return None
            self._try_again_s = now_s + _AWAY_S  # one request tries Redis, the others do not wait for it
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                wait_s = await ask(self._take(limit, who))
        except REDIS_ERRORS as error:
            self._gone(error)
            return None
        self._back()
        if wait_s:
            self._remember(limit.key_for(who), self._now_s() + wait_s)
        return wait_s

    def wait_s(self, limit: RateLimitItem, who: str) -> float:
        """Return the seconds until a window that is known to be full accepts a request, without asking Redis; else 0."""
        until_s = self._full_until_s.get(limit.key_for(who)) if self._full_until_s else None
        return 0.0 if until_s is None else max(until_s - self._now_s(), 0.0)

    async def _take(self, limit: RateLimitItem, who: str) -> float:
        if await self._limiter.hit(limit, who):
            return 0.0
        stats = await self._limiter.get_window_stats(limit, who)
        return max(stats.reset_time - time.time(), _SOON_S) if stats.remaining <= 0 else _SOON_S

    def _remember(self, window: str, until_s: float) -> None:
        if len(self._full_until_s) >= MAX_REMEMBERED:
            # Each dropped entry costs at most one more request to Redis.
            self._full_until_s.clear()
        self._full_until_s[window] = until_s

    def _gone(self, error: Exception) -> None:
        self._try_again_s = self._now_s() + _AWAY_S
        if not self._is_away:
            self._is_away = True
            log.warning(
                "limits_not_shared", error=str(error) or type(error).__name__, help="each process counts by itself"
            )

    def _back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("limits_shared")


class _Storage(RedisStorage):
    """The storage of the library ``limits`` on the city's own Redis client, for one server or a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix="city:limits")

    def configure_bridge(self) -> None:
        bridge: Any = self.bridge
        bridge.connection_getter = lambda _is_readonly: self._client
