"""Circuit breakers of the agents core.

    closed ──several failures in a row──► open ──one trial after a pause──► closed, or open again

Each agent has a circuit breaker for failures of its replies, and all agents share one for a core that cannot be
reached.
"""

from __future__ import annotations

from functools import partial

from ..city.ports import NowMs


class Breaker:
    """A circuit breaker that opens after ``failures`` in a row for ``pause_ms``.

    The caller reports the result of each admitted request.
    """

    def __init__(self, now_ms: NowMs, *, failures: int, pause_ms: int) -> None:
        self._now_ms = now_ms
        self._max_failures = failures
        self._pause_ms = pause_ms
        self._failures = 0
        self._next_trial_ms = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._max_failures

    @property
    def wait_ms(self) -> int:
        """How long no request is admitted; 0 if one may be sent now."""
        return max(0, self._next_trial_ms - self._now_ms()) if self.is_open else 0

    def admit(self) -> bool:
        """Return whether a request may be sent. While the breaker is open, one is admitted after each pause."""
        if self.wait_ms > 0:
            return False
        if self.is_open:
            self._pause()
        return True

    def record_success(self) -> bool:
        """Record a success; return whether it closed the breaker."""
        was_open = self.is_open
        self._failures = 0
        return was_open

    def record_failure(self) -> bool:
        """Record a failure; return whether it opened the breaker."""
        self._failures += 1
        if self._failures != self._max_failures:
            # Failures of requests from before it opened change nothing; a trial has begun the next pause already.
            return False
        self._pause()
        return True

    def _pause(self) -> None:
        self._next_trial_ms = self._now_ms() + self._pause_ms


class Breakers:
    """One circuit breaker for all agents, and one for each agent."""

    def __init__(self, now_ms: NowMs, *, failures: int, pause_ms: int) -> None:
        self._new_breaker = partial(Breaker, now_ms, failures=failures, pause_ms=pause_ms)
        self._shared = self._new_breaker()
        self._by_agent: dict[str, Breaker] = {}
        """Breakers of agents that have failed since their last success."""

    @property
    def is_open(self) -> bool:
        """Whether any breaker is open."""
        return self._shared.is_open or any(breaker.is_open for breaker in self._by_agent.values())

    def wait_ms(self, agent: str) -> int:
        """Return how long no request for the agent is admitted; 0 if one may be sent now."""
        own = self._by_agent.get(agent)
        return max(self._shared.wait_ms, own.wait_ms if own else 0)

    def admit(self, agent: str) -> bool:
        """Return whether a request for the agent may be sent."""
        own = self._by_agent.get(agent)
        return not self.wait_ms(agent) and self._shared.admit() and (own is None or own.admit())

    def record_success(self, agent: str) -> bool:
        """Record a success; return whether it closed a breaker."""
        own = self._by_agent.pop(agent, None)
        was_own_open = own is not None and own.record_success()
        return self._shared.record_success() or was_own_open

    def record_reachable(self) -> None:
        """Record that the core is reachable, whether or not the agent failed."""
        self._shared.record_success()

    def record_failure(self, agent: str) -> bool:
        """Record a failure of the agent; return whether it opened the agent's breaker."""
        return self._by_agent.setdefault(agent, self._new_breaker()).record_failure()

    def record_unreachable(self) -> bool:
        """Record that the core cannot be reached; return whether it opened the shared breaker."""
        return self._shared.record_failure()
