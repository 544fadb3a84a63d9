"""Runs background tasks; one that fails is restarted with back-off.

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
"""So many failures of one task within this time end the process: restarting does not help."""
_FIRST_PAUSE_S: Final = 0.25
"""Doubled with each failure within the window: 3.75 s in all before the last attempt."""

RESTARTS: Final = Counter(
    "daarion_task_restarts", "Background tasks that failed and were started again.", ("task",), registry=None
)
"""Of the process: ``process_registry`` shows it."""

log = structlog.get_logger()


class Supervisor:
    """Of all background tasks of one process."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s = now_s
        self._sleep = sleep
        self._failures: dict[str, deque[float]] = {}
        """When each task failed, in seconds on the clock; at most ``MAX_FAILURES`` each."""
        self._down: set[str] = set()

    @property
    def down(self) -> list[str]:
        """The tasks that failed and wait for their restart, by name."""
        return sorted(self._down)

    def restarted(self) -> list[str]:
        """The tasks that failed within the last minute, by name."""
        return sorted(name for name in self._failures if self._recent(name))

    async def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work()`` until it returns, and again whenever it raises.

        Raises StartError as it is (the service cannot run at all), and TaskFailedRepeatedly when ``work`` failed too often.
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
    """What ``work`` raised; None when it returned. In a task of its own, so that each attempt begins with a clean count of
    cancellations: on Python 3.11 a TaskGroup that failed leaves it wrong."""
    task = asyncio.create_task(work(), name=name)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    # Nobody cancelled it from here, so a cancellation that came out of it is a failure like any other.
    return asyncio.CancelledError() if task.cancelled() else task.exception()
