"""The loop of a background task: a step, a pause until the next one is due or requested, and back-off in outages.

    homeserver up ─► step ─► wait for `wake` or the time that the step returned ─► …
                       └─ database or homeserver unavailable ─► pause ─► again

`database_retry` logs database errors and computes the pause after them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import DatabaseError, HomeserverUnavailable
from .database_retry import RETRY_S, DatabaseRetry, jittered


class Monitor(Protocol):
    """The state of the homeserver."""

    async def wait_up(self) -> None: ...
    def report_unavailable(self, error: HomeserverUnavailable) -> None: ...


class Worker:
    """Repeats the step of one background task.

    Args:
        task: the name of the task, for the log.
        idle_s: longest pause between two steps, in seconds; None to wait for `wake`. A step may return a shorter one.
        monitor: the homeserver, for which each step waits and to which failed requests are reported; None for a step
            that makes no requests.
    """

    def __init__(self, task: str, *, idle_s: float | None, monitor: Monitor | None = None) -> None:
        self._database_retry = DatabaseRetry(task)
        self._idle_s = idle_s
        self._monitor = monitor
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Start the next step as soon as possible. A step that is running is followed by another one."""
        self._woken.set()

    @property
    def is_woken(self) -> bool:
        """Whether another step was requested since the running one began."""
        return self._woken.is_set()

    async def run(self, step: Callable[[], Awaitable[float | None]], *, waits_first: bool = False) -> None:
        """Repeat ``step`` until cancelled. Can be called again.

        Args:
            step: returns the longest pause until the next step, in seconds; None for ``idle_s``.
            waits_first: whether the first step waits for ``idle_s`` or `wake`, too.
        """
        if waits_first:
            await self._idle(self._idle_s)
        while True:
            if self._monitor is not None:
                await self._monitor.wait_up()
            self._woken.clear()
            try:
                idle_s = await step()
            except HomeserverUnavailable as error:
                if self._monitor is None:
                    raise
                self._monitor.report_unavailable(error)
                await asyncio.sleep(jittered(RETRY_S))
            except DatabaseError as error:
                # `wake` does not end this pause: more work does not help a database that refuses the statement.
                await asyncio.sleep(self._database_retry.record_failure(error))
            else:
                self._database_retry.record_success()
                await self._idle(self._idle_s if idle_s is None else idle_s)

    async def _idle(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds if seconds is None else max(0.0, seconds)):
                await self._woken.wait()
        except TimeoutError:
            return
