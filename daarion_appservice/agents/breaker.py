"""A circuit breaker: whoever fails again and again is left alone for a while.

closed ──so many failures in a row──► open ──after a while one may try──► closed, or open again
"""

from __future__ import annotations

from ..city.ports import NowMs


class Breaker:
    """Opens after ``failures`` in a row, for ``pause_ms``. Whoever was admitted says whether they succeeded."""

    def __init__(self, now_ms: NowMs, *, failures: int, pause_ms: int) -> None:
        self._now_ms = now_ms
        self._limit = failures
        self._pause_ms = pause_ms
        self._failures = 0
        self._next_try_ms = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    @property
    def wait_ms(self) -> int:
        """How long nobody is admitted; 0 when somebody may try now."""
        return max(0, self._next_try_ms - self._now_ms()) if self.is_open else 0

    def admit(self) -> bool:
        """Whether this one may try. While it is open, one may each time that the pause is over."""
        if self.wait_ms > 0:
            return False
        if self.is_open:
            self._pause()
        return True

    def succeeded(self) -> bool:
        """Returns whether that closed it."""
        was_open = self.is_open
        self._failures = 0
        return was_open

    def failed(self) -> bool:
        """Returns whether that opened it."""
        self._failures += 1
        if self._failures != self._limit:
            # Those that began before it opened and fail now say nothing new; the one that tried began the next pause itself.
            return False
        self._pause()
        return True

    def _pause(self) -> None:
        self._next_try_ms = self._now_ms() + self._pause_ms
