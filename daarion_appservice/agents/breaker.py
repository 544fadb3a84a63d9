"""A circuit breaker: whoever fails again and again is left alone for a while.

closed ──so many failures in a row──► open ──after a while one may try──► closed, or open again

Each agent has one, for what is wrong with its answers, and all have one together, for a core that cannot be reached.
"""

from __future__ import annotations

from functools import partial

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


class Breakers:
    """One for all agents, and one for each."""

    def __init__(self, now_ms: NowMs, *, failures: int, pause_ms: int) -> None:
        self._new = partial(Breaker, now_ms, failures=failures, pause_ms=pause_ms)
        self._of_all = self._new()
        self._of_one: dict[str, Breaker] = {}
        """Those that have failed since they last succeeded."""

    @property
    def is_open(self) -> bool:
        """Whether any is."""
        return self._of_all.is_open or any(breaker.is_open for breaker in self._of_one.values())

    def wait_ms(self, agent: str) -> int:
        """How long it is not asked; 0 when it may be now."""
        own = self._of_one.get(agent)
        return max(self._of_all.wait_ms, own.wait_ms if own else 0)

    def admit(self, agent: str) -> bool:
        """Whether this one may try."""
        own = self._of_one.get(agent)
        return not self.wait_ms(agent) and self._of_all.admit() and (own is None or own.admit())

    def succeeded(self, agent: str) -> bool:
        """Returns whether that closed one."""
        own = self._of_one.pop(agent, None)
        was_own_open = own is not None and own.succeeded()
        return self._of_all.succeeded() or was_own_open

    def reached(self) -> None:
        """The core is there, whatever is wrong with the agent."""
        self._of_all.succeeded()

    def failed(self, agent: str) -> bool:
        """Returns whether that opened its own."""
        return self._of_one.setdefault(agent, self._new()).failed()

    def unreachable(self) -> bool:
        """Returns whether that opened the one of all."""
        return self._of_all.failed()
