"""Runs background tasks and restarts a failed one with back-off.

work ─raises─► logged, counted, named in /readyz ─► back-off ─► work again
            └─ the 5th time within a minute ─► TaskFailedRepeatedly, which ends the process
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog
from prometheus_client import Counter

from ..errors import StartError, TaskFailedRepeatedly

MAX_FAILURES: Final = 5
WINDOW_S: Final = 60.0
"""This many failures of one task within this time end the process: restarting does not help."""
_FIRST_PAUSE_S: Final = 0.25
"""Doubled with each failure within the window: 3.75 s in all before the last attempt."""

RESTARTS: Final = Counter(
    "daarion_task_restarts", "Background tasks that failed and were restarted, by `task`.", ("task",), registry=None
)
"""A counter of the process, exposed by ``process_registry``."""

log = structlog.get_logger()


class Supervisor:
    """Supervises all background tasks of one process."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s = now_s
        self._sleep = sleep
        self._failures: dict[str, deque[float]] = {}
        """Times of each task's failures, in seconds on the clock; at most ``MAX_FAILURES`` each."""
        self._down: set[str] = set()

    @property
    def down(self) -> list[str]:
        """Names of the tasks that failed and wait for their restart."""
        return sorted(self._down)

    def restarted(self) -> list[str]:
        """Return the names of the tasks that failed within the last minute."""
        return sorted(name for name in self._failures if self._recent(name))

    async def supervise(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work()`` until it returns, and again whenever it raises.

        Raises:
            StartError: the service cannot run at all; passed on unchanged.
            TaskFailedRepeatedly: ``work`` failed too often.
        """
        while (error := await _attempt(name, work)) is not None:
            if isinstance(error, (StartError, TaskFailedRepeatedly)):
                raise error
            await self._failed(name, error)

    async def _failed(self, name: str, error: BaseException) -> None:
        self._failures.setdefault(name, deque(maxlen=MAX_FAILURES)).append(self._now_s())
        count = self._recent(name)
        if count >= MAX_FAILURES:
            log.error("task_given_up", task=name, failures=count, exc_info=error)
            raise TaskFailedRepeatedly(name, error)
        RESTARTS.labels(name).inc()
        pause_s = _FIRST_PAUSE_S * 2 ** (count - 1)
        log.error("task_failed", task=name, failures=count, restart_in_s=pause_s, exc_info=error)
        self._down.add(name)
        try:
            await self._sleep(pause_s)
        finally:
            self._down.discard(name)

    def _recent(self, name: str) -> int:
        since_s = self._now_s() - WINDOW_S
        return sum(at_s > since_s for at_s in self._failures[name])


async def _attempt(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
    """Return the exception that ``work`` raised, None if it returned.

    Each attempt is a task of its own and begins with a cancellation count of zero: on Python 3.11 a failed TaskGroup
    leaves it wrong.
    """
    task = asyncio.create_task(work(), name=name)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    # This function did not cancel the task, so a cancellation that the task raises is a failure like any other.
    return asyncio.CancelledError() if task.cancelled() else task.exception()
