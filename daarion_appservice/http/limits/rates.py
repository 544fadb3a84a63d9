"""Rate limits of requests and client events by subject or address."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from limits import RateLimitItem, parse

from ...config import LimitsSettings
from ...errors import TooManyRequests
from ...realtime.redis_client import Client
from .metrics import count_hit
from .moving_window import MovingWindow
from .redis_window import RedisMovingWindow


class Rate(StrEnum):
    """The kinds of requests that are counted separately. The value is the name of the setting, and of the keys in Redis."""

    READS = "reads"
    SEARCHES = "searches"
    WRONG_TOKENS = "wrong_tokens"
    MESSAGES = "messages"
    CHANGES = "changes"
    SIGN_INS = "sign_ins"
    PREVIEWS = "previews"
    UPLOADS = "uploads"
    ROOMS = "rooms"
    TYPING = "typing"
    HEARTBEATS = "heartbeats"


_NOUNS: Final = {
    Rate.READS: "requests",
    Rate.SEARCHES: "searches",
    Rate.WRONG_TOKENS: "wrong tokens",
    Rate.MESSAGES: "messages",
    Rate.CHANGES: "changes",
    Rate.SIGN_INS: "sign-ins",
    Rate.PREVIEWS: "previews",
    Rate.UPLOADS: "files",
    Rate.ROOMS: "new rooms",
    Rate.TYPING: "typing notices",
    Rate.HEARTBEATS: "heartbeats",
}

_IN_EACH_PROCESS: Final = {Rate.READS, Rate.SEARCHES, Rate.PREVIEWS, Rate.TYPING, Rate.HEARTBEATS}
"""The rates counted in each process: such requests are so frequent and cheap that Redis would cost more than the request."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The windows of one rate: the local one, and the shared one in Redis if the rate has it."""

    rate: Rate
    limit: RateLimitItem
    text: str
    local: MovingWindow
    shared: RedisMovingWindow | None

    async def count(self, key: str) -> float:
        """Count one request in Redis, or in this process while Redis does not respond; return the seconds to wait."""
        wait_s = await self.shared.count(self.limit, key) if self.shared is not None else None
        return self.local.count(key) if wait_s is None else wait_s

    def wait_s(self, key: str) -> float:
        return self.local.wait_s(key) or (self.shared.wait_s(self.limit, key) if self.shared is not None else 0.0)

    def check(self, wait_s: float) -> None:
        if wait_s:
            count_hit(self.rate.value)
            raise TooManyRequests(f"too many {_NOUNS[self.rate]}: at most {self.text}", retry_after_s=wait_s)


class RateLimiter:
    """Counts requests in this process, or in Redis for all processes; in this process while Redis does not respond.

    Args:
        settings: the limits; a rate with an empty text is not limited.
        redis: the Redis client of the city, if it has several processes.
        now_s: the clock, in seconds.
    """

    def __init__(
        self, settings: LimitsSettings, redis: Client | None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        redis_window = RedisMovingWindow(redis, now_s) if redis is not None else None
        self._windows: dict[Rate, _Window] = {}
        for rate in Rate:
            if text := getattr(settings, rate):
                limit = parse(text)
                limit.namespace = rate.value
                shared = None if rate in _IN_EACH_PROCESS else redis_window
                self._windows[rate] = _Window(rate, limit, text, MovingWindow(limit, now_s), shared)

    async def count(self, rate: Rate, key: str) -> None:
        """Count one request.

        Args:
            rate: the kind of request.
            key: the subject or address that it counts for.

        Raises:
            TooManyRequests: the limit is reached; the request is not counted then.
        """
        if (window := self._windows.get(rate)) is not None:
            window.check(await window.count(key))

    def check(self, rate: Rate, key: str) -> None:
        """Check a limit without counting and without asking Redis.

        Raises:
            TooManyRequests: this process knows that the limit is reached.
        """
        if (window := self._windows.get(rate)) is not None:
            window.check(window.wait_s(key))
