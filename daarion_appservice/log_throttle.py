"""Limits how often a log event is written that any client can cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

_INTERVAL_S: Final = 60.0


@dataclass(slots=True)
class LogThrottle:
    """Allows each log event once a minute.

    Args:
        now_s: the clock, in seconds.
    """

    now_s: Callable[[], float] = time.monotonic
    _allowed_from_s: dict[Hashable, float] = field(default_factory=dict, init=False)
    _skipped: Counter[Hashable] = field(default_factory=Counter, init=False)

    def allows(self, event: Hashable = None) -> bool:
        """Return whether ``event`` may be logged now; if so, it may not for a minute. The set of events must be small."""
        now_s = self.now_s()
        if now_s < self._allowed_from_s.get(event, now_s):
            self._skipped[event] += 1
            return False
        self._allowed_from_s[event] = now_s + _INTERVAL_S
        return True

    def skipped(self, event: Hashable = None) -> int:
        """Return how often ``event`` was not allowed since the last call of this method."""
        return self._skipped.pop(event, 0)
