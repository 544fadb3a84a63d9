"""The loop of a background task: a step, a pause until the next one is due or requested, and back-off in outages.

    homeserver up ─► step ─► wait for `wake` or the time that the step returned ─► …
                       └─ database or homeserver unavailable ─► pause ─► again

The log contains one line for each outage of the database that the task meets, and one for its end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from ..errors import DatabaseError, DatabaseUnavailable, HomeserverUnavailable

_RETRY_S: Final = 1.0
"""Longest pause after a failed step, in seconds. A random part of it keeps many tasks from retrying at the same time."""

_HELP: Final = "trying again each second, and nothing is lost"

log = structlog.get_logger()


class Monitor(Protocol):
    """The state of the homeserver."""

    async def wait_up(self) -> None: ...
    def lost(self, error: HomeserverUnavailable) -> None: ...


class Worker:
    """Repeats the step of one background task.

    Args:
        task: the name of the task, for the log.
        idle_s: longest pause between two steps, in seconds; None to wait for `wake`. A step may return a shorter one.
        monitor: the homeserver, for which each step waits and to which failed requests are reported; None for a step
            that makes no requests.
    """

    def __init__(self, task: str, *, idle_s: float | None, monitor: Monitor | None = None) -> None:
        self._task = task
        self._idle_s = idle_s
        self._monitor = monitor
        self._woken = asyncio.Event()
        self._is_waiting = False

    def wake(self) -> None:
        """Start the next step as soon as possible. A step that is running is followed by another one."""
        self._woken.set()

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
                self._monitor.lost(error)
                await self._back_off()
            except DatabaseError as error:
                self._note_outage(error)
                await self._back_off()
            else:
                self._note_success()
                await self._idle(self._idle_s if idle_s is None else idle_s)

    async def _idle(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds if seconds is None else max(0.0, seconds)):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _back_off(self) -> None:
        await asyncio.sleep(random.uniform(_RETRY_S / 2, _RETRY_S))  # noqa: S311 -- not a secret

    def _note_outage(self, error: DatabaseError) -> None:
        if self._is_waiting:
            return
        self._is_waiting = True
        # A refused statement is a fault of the service, which its traceback locates.
        fault = None if isinstance(error, DatabaseUnavailable) else error
        log.error("task_waits_for_database", task=self._task, error=str(error), help=_HELP, exc_info=fault)

    def _note_success(self) -> None:
        if self._is_waiting:
            log.info("task_continues", task=self._task)
        self._is_waiting = False
