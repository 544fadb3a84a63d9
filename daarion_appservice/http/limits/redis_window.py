"""A moving window rate limit in Redis, which all processes of the city share, with the library ``limits``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from ...realtime.redis_client import REDIS_ERRORS, Client, response_of
from .moving_window import MAX_KEYS

_TIMEOUT_S: Final = 0.5
"""How long a request waits for Redis before it is counted in this process."""
_RETRY_S: Final = 5.0
"""How long no request is sent to Redis after it did not respond."""
_MIN_WAIT_S: Final = 0.001

log = structlog.get_logger()


class RedisMovingWindow:
    """Moving windows of several limits for many keys, in Redis keys ``city:limits:…`` that expire."""

    def __init__(self, client: Client, now_s: Callable[[], float] = time.monotonic) -> None:
        self._limiter = MovingWindowRateLimiter(_Storage(client))
        self._now_s = now_s
        self._full_until_s: dict[str, float] = {}
        """By key of a full window: the time before which Redis need not be asked."""
        self._is_unavailable = False
        self._retry_at_s = 0.0

    async def count(self, limit: RateLimitItem, key: str) -> float | None:
        """Count one request, like ``MovingWindow.count``; return None while Redis does not respond."""
        if wait_s := self.wait_s(limit, key):
            return wait_s
        now_s = self._now_s()
        if self._is_unavailable:
            if now_s < self._retry_at_s:
                return None
            self._retry_at_s = now_s + _RETRY_S  # one request tries Redis, the others do not wait for it
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                wait_s = await response_of(self._hit(limit, key))
        except REDIS_ERRORS as error:
            self._set_unavailable(error)
            return None
        self._set_available()
        if wait_s:
            self._remember(limit.key_for(key), self._now_s() + wait_s)
        return wait_s

    def wait_s(self, limit: RateLimitItem, key: str) -> float:
        """Return the seconds until a window that is known to be full accepts a request, without asking Redis; else 0."""
        until_s = self._full_until_s.get(limit.key_for(key)) if self._full_until_s else None
        return 0.0 if until_s is None else max(until_s - self._now_s(), 0.0)

    async def _hit(self, limit: RateLimitItem, key: str) -> float:
        if await self._limiter.hit(limit, key):
            return 0.0
        stats = await self._limiter.get_window_stats(limit, key)
        return max(stats.reset_time - time.time(), _MIN_WAIT_S) if stats.remaining <= 0 else _MIN_WAIT_S

    def _remember(self, window: str, until_s: float) -> None:
        if len(self._full_until_s) >= MAX_KEYS:
            # Each dropped entry costs at most one more request to Redis.
            self._full_until_s.clear()
        self._full_until_s[window] = until_s

    def _set_unavailable(self, error: Exception) -> None:
        self._retry_at_s = self._now_s() + _RETRY_S
        if not self._is_unavailable:
            self._is_unavailable = True
            log.warning(
                "limits_not_shared", error=str(error) or type(error).__name__, help="each process counts by itself"
            )

    def _set_available(self) -> None:
        if self._is_unavailable:
            self._is_unavailable = False
            log.info("limits_shared")


class _Storage(RedisStorage):
    """The storage of the library ``limits`` on the city's own Redis client, for one server or a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix="city:limits")

    def configure_bridge(self) -> None:
        bridge: Any = self.bridge
        bridge.connection_getter = lambda _is_readonly: self._client
