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

_INITIAL_PER_S: Final = 100.0
_MIN_PER_S: Final = 10.0
"""The minimum rate: presence continues however slow the homeserver is."""
_INCREASE: Final = 2.0
"""The increase per second, in square roots of the rate, while the rate is fully used and response times are as usual:
from 100 to 300 requests/s takes 7 s, and on a homeserver that serves 20 requests/s the overshoot is below 50 %."""
_DECREASE: Final = 0.7
_HALVE: Final = 0.5
_TOLERANCE_S: Final = 0.05
"""The tolerated excess of the response time. A change takes Synapse 5 to 30 ms more than a refresh (it is written to
the disk), which is not a queueing delay."""
_SMOOTHING: Final = 0.2
_WINDOW_S: Final = 30.0
"""The usual response time is the minimum of the current and the previous window of this length."""
_REDUCTION_PAUSE_S: Final = 1.0
"""The minimum time between two reductions, so that the first can take effect."""
_BURST_S: Final = 0.1
"""The time over which unused capacity accumulates, so that a few simultaneous changes do not wait for each other."""
_MAX_RETRY_S: Final = 60.0

_NEVER: Final = float("-inf")
_UNKNOWN_S: Final = float("inf")


class AdaptiveRateLimiter:
    """The current rate, and the time of the next request. Times are seconds on any monotonic clock."""

    def __init__(self, *, max_per_s: float) -> None:
        self._max_per_s = max_per_s
        self.per_s = min(_INITIAL_PER_S, max_per_s)
        """The current rate, in requests per second."""
        self._next_s = _NEVER
        self._is_saturated = False
        self._window_ends_s = _NEVER
        self._window_min_s = self._previous_min_s = _UNKNOWN_S
        self._average_s: float | None = None
        self._reduced_at_s = _NEVER

    def wait_s(self, now_s: float) -> float:
        """Return the time in seconds until a request may be sent; 0 if it may be sent now."""
        return max(0.0, self._next_s - now_s)

    def record_request(self, now_s: float) -> None:
        """Record that a request is sent."""
        self._is_saturated = now_s - self._next_s < 1 / self.per_s
        self._next_s = max(self._next_s, now_s - _BURST_S) + 1 / self.per_s

    def record_response(self, duration_s: float, now_s: float) -> None:
        """Record a response that took ``duration_s`` seconds."""
        if self._average_s is None:
            self._average_s = duration_s
        self._average_s += (duration_s - self._average_s) * _SMOOTHING
        if self._average_s - self._baseline_s(duration_s, now_s) > _TOLERANCE_S:
            self._reduce(_DECREASE, now_s)
        elif self._is_saturated:
            self.per_s = min(self._max_per_s, self.per_s + _INCREASE / math.sqrt(self.per_s))

    def _baseline_s(self, duration_s: float, now_s: float) -> float:
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + _WINDOW_S
            self._previous_min_s, self._window_min_s = self._window_min_s, duration_s
        self._window_min_s = min(self._window_min_s, duration_s)
        return min(self._previous_min_s, self._window_min_s)

    def record_failure(self, now_s: float) -> None:
        """Record a request that timed out, or got no response of the homeserver."""
        self._reduce(_HALVE, now_s)

    def record_rate_limit(self, retry_after_s: float, now_s: float) -> None:
        """Record a 429 response with its retry delay, of which at most ``_MAX_RETRY_S`` counts."""
        self._reduce(_HALVE, now_s)
        self._next_s = max(self._next_s, now_s + min(retry_after_s, _MAX_RETRY_S))

    def _reduce(self, factor: float, now_s: float) -> None:
        if now_s - self._reduced_at_s >= _REDUCTION_PAUSE_S:
            self._reduced_at_s = now_s
            self.per_s = max(min(_MIN_PER_S, self._max_per_s), self.per_s * factor)
