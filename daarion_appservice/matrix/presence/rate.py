"""How many presence requests a second the homeserver is asked to bear: a rate that feels its way, without clock or I/O.

    every answer in its usual time ─► a little more each second
    answers take longer than usual ─► at once a good deal less
    429                            ─► half, and nothing before it may be tried again

The measure is not how long an answer takes but how much longer than usual, which is the time that requests stand in a queue:
theirs and everybody else's. So a homeserver is left its room long before it is full, as LEDBAT (RFC 6817) does with a network.
"""

from __future__ import annotations

import math
from typing import Final

_FIRST_PER_S: Final = 100.0
_LEAST_PER_S: Final = 10.0
"""However slow the homeserver is, presence does not stop."""
_MORE: Final = 2.0
"""In a second in which it is used up and every answer comes in its usual time, the rate grows by so many of its square roots:
from 100 to 300 takes 7 s, and on a homeserver that takes 20 a second it does not shoot past that by half."""
_LESS: Final = 0.7
_HALF: Final = 0.5
_QUEUE_S: Final = 0.05
"""How much longer than usual an answer may take. A change takes Synapse 5 to 30 ms more than a refresh (it is written to the
disk), which is no queue."""
_SMOOTHING: Final = 0.2
_WINDOW_S: Final = 30.0
"""Usual is the fastest answer of this stretch of time and of the one before."""
_CUT_PAUSE_S: Final = 1.0
"""Between two cuts, so that the first can show its effect."""
_BURST_S: Final = 0.1
"""What was not used is kept for this long: a few changes at once do not wait for each other."""
_LONGEST_BAN_S: Final = 60.0

_NEVER: Final = float("-inf")
_LONG_S: Final = float("inf")


class AdaptiveRateLimiter:
    """Times are seconds on any steady clock; none goes back."""

    def __init__(self, *, most_per_s: float) -> None:
        self._most_per_s = most_per_s
        self.per_s = min(_FIRST_PER_S, most_per_s)
        """What may be sent in a second at present."""
        self._next_s = _NEVER
        self._is_used_up = False
        self._window_ends_s = _NEVER
        self._fastest_s = self._fastest_before_s = _LONG_S
        self._recent_s: float | None = None
        self._cut_at_s = _NEVER

    def wait_s(self, now_s: float) -> float:
        """How long until a request may be sent; 0 when it may be sent now."""
        return max(0.0, self._next_s - now_s)

    def spend(self, now_s: float) -> None:
        """A request is sent."""
        self._is_used_up = now_s - self._next_s < 1 / self.per_s
        self._next_s = max(self._next_s, now_s - _BURST_S) + 1 / self.per_s

    def answered(self, took_s: float, now_s: float) -> None:
        """A request was answered after ``took_s``."""
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
        """A request was not answered in time, or not by the homeserver."""
        self._cut(_HALF, now_s)

    def limited(self, retry_after_s: float, now_s: float) -> None:
        """The homeserver said "too many requests" and when to come back."""
        self._cut(_HALF, now_s)
        self._next_s = max(self._next_s, now_s + min(retry_after_s, _LONGEST_BAN_S))

    def _cut(self, share: float, now_s: float) -> None:
        if now_s - self._cut_at_s >= _CUT_PAUSE_S:
            self._cut_at_s = now_s
            self.per_s = max(min(_LEAST_PER_S, self._most_per_s), self.per_s * share)
