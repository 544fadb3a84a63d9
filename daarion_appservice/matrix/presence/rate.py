"""An adaptive rate limiter for presence requests, without clock or I/O.

    response times as usual      ─► increase the rate a little each second
    response times above usual   ─► multiply the rate by 0.7 at once
    429                          ─► halve the rate, and send nothing before the retry delay is over

The measure is not the response time but its excess over the usual one, which is the queueing delay of all the
homeserver's requests. The limiter therefore slows down before the homeserver is saturated, like LEDBAT (RFC 6817).
"""

from __future__ import annotations

import math
from typing import Final

_FIRST_PER_S: Final = 100.0
_LEAST_PER_S: Final = 10.0
"""The minimum rate: presence continues however slow the homeserver is."""
_MORE: Final = 2.0
"""The increase per second, in square roots of the rate, while the rate is fully used and response times are as usual:
from 100 to 300 requests/s takes 7 s, and on a homeserver that serves 20 requests/s the overshoot is below 50 %."""
_LESS: Final = 0.7
_HALF: Final = 0.5
_QUEUE_S: Final = 0.05
"""The tolerated excess of the response time. A change takes Synapse 5 to 30 ms more than a refresh (it is written to
the disk), which is no queueing delay."""
_SMOOTHING: Final = 0.2
_WINDOW_S: Final = 30.0
"""The usual response time is the minimum of the current and the previous window of this length."""
_CUT_PAUSE_S: Final = 1.0
"""The minimum time between two reductions, so that the first can take effect."""
_BURST_S: Final = 0.1
"""The time over which unused capacity accumulates, so that a few simultaneous changes do not wait for each other."""
_LONGEST_BAN_S: Final = 60.0

_NEVER: Final = float("-inf")
_LONG_S: Final = float("inf")


class AdaptiveRateLimiter:
    """The current rate, and the time of the next request. Times are seconds on any monotonic clock."""

    def __init__(self, *, most_per_s: float) -> None:
        self._most_per_s = most_per_s
        self.per_s = min(_FIRST_PER_S, most_per_s)
        """The current rate, in requests per second."""
        self._next_s = _NEVER
        self._is_used_up = False
        self._window_ends_s = _NEVER
        self._fastest_s = self._fastest_before_s = _LONG_S
        self._recent_s: float | None = None
        self._cut_at_s = _NEVER

    def wait_s(self, now_s: float) -> float:
        """Return the time in seconds until a request may be sent; 0 if it may be sent now."""
        return max(0.0, self._next_s - now_s)

    def spend(self, now_s: float) -> None:
        """Record that a request is sent."""
        self._is_used_up = now_s - self._next_s < 1 / self.per_s
        self._next_s = max(self._next_s, now_s - _BURST_S) + 1 / self.per_s

    def answered(self, took_s: float, now_s: float) -> None:
        """Record a response that took ``took_s`` seconds."""
        if self._recent_s is None:
            self._recent_s = took_s
        self._recent_s += (took_s - self._recent_s) * _SMOOTHING
        if self._recent_s - self._usual_s(took_s, now_s) > _QUEUE_S:
            self._cut(_LESS, now_s)
        elif self._is_used_up:
            self.per_s = min(self._most_per_s, self.per_s + _MORE / math.sqrt(self.per_s))

    def _usual_s(self, took_s: float, now_s: float) -> float:
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + _WINDOW_S
            self._fastest_before_s, self._fastest_s = self._fastest_s, took_s
        self._fastest_s = min(self._fastest_s, took_s)
        return min(self._fastest_before_s, self._fastest_s)

    def unanswered(self, now_s: float) -> None:
        """Record a request that timed out, or got no response of the homeserver."""
        self._cut(_HALF, now_s)

    def limited(self, retry_after_s: float, now_s: float) -> None:
        """Record a 429 response with its retry delay, of which at most ``_LONGEST_BAN_S`` counts."""
        self._cut(_HALF, now_s)
        self._next_s = max(self._next_s, now_s + min(retry_after_s, _LONGEST_BAN_S))

    def _cut(self, share: float, now_s: float) -> None:
        if now_s - self._cut_at_s >= _CUT_PAUSE_S:
            self._cut_at_s = now_s
            self.per_s = max(min(_LEAST_PER_S, self._most_per_s), self.per_s * share)
