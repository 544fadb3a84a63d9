"""Rate limits of requests and client events by subject or address."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from limits import RateLimitItem, parse

from ...config import LimitsSettings
from ...errors import TooManyRequests
from ...realtime.redis_client import Client
from .shared_buckets import MovingWindow, NowS, SharedBuckets


class Rate(StrEnum):
    """The kinds of requests that are counted separately, by the name of their setting."""

    READS = "reads"
    SIGN_INS = "sign_ins"
    MESSAGES = "messages"
    CHANGES = "changes"
    ARRIVALS = "arrivals"
    UPLOADS = "uploads"
    ROOMS = "rooms"
    TYPING = "typing"
    HEARTBEATS = "heartbeats"


_WORDS: Final = {
    Rate.READS: "requests",
    Rate.SIGN_INS: "wrong tokens",
    Rate.MESSAGES: "messages",
    Rate.CHANGES: "changes",
    Rate.ARRIVALS: "sign-ins",
    Rate.UPLOADS: "files",
    Rate.ROOMS: "new rooms",
    Rate.TYPING: "typing notices",
    Rate.HEARTBEATS: "heartbeats",
}

_OF_EACH_PROCESS: Final = {Rate.READS, Rate.TYPING, Rate.HEARTBEATS}
"""The rates counted in each process: such requests are so frequent and cheap that Redis would cost more than the request."""


@dataclass(frozen=True, slots=True)
class _Counted:
    limit: RateLimitItem
    text: str
    own: MovingWindow
    shared: SharedBuckets | None


class Rates:
    """Counts requests in this process, or in Redis for all processes; in this process while Redis does not answer."""

    def __init__(self, settings: LimitsSettings, redis: Client | None, now_s: NowS = time.monotonic) -> None:
        shared = SharedBuckets(redis, now_s) if redis is not None else None
        self._counted = {}
        for rate in Rate:
            if text := getattr(settings, rate):
                limit = parse(text)
                limit.namespace = rate.value
                together = None if rate in _OF_EACH_PROCESS else shared
                self._counted[rate] = _Counted(limit, text, MovingWindow(limit, now_s), together)

    async def spend(self, rate: Rate, who: str) -> None:
        """Count one request.

        Args:
            rate: the kind of request.
            who: the subject or address that it counts for.

        Raises:
            TooManyRequests: the limit is reached; the request is not counted then.
        """
        counted = self._counted.get(rate)
        if counted is None:
            return
        wait_s = await counted.shared.take(counted.limit, who) if counted.shared is not None else None
        if wait_s is None:
            wait_s = counted.own.take(who)
        if wait_s:
            raise _too_many(rate, counted, wait_s)

    def check(self, rate: Rate, who: str) -> None:
        """Check a limit without counting and without asking Redis.

        Raises:
            TooManyRequests: this process knows that the limit is reached.
        """
        counted = self._counted.get(rate)
        if counted is None:
            return
        wait_s = counted.own.wait_s(who) or (counted.shared.wait_s(counted.limit, who) if counted.shared else 0.0)
        if wait_s:
            raise _too_many(rate, counted, wait_s)


def _too_many(rate: Rate, counted: _Counted, wait_s: float) -> TooManyRequests:
    return TooManyRequests(f"too many {_WORDS[rate]}: at most {counted.text}", retry_after_s=wait_s)
