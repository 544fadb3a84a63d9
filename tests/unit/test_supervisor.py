"""A background task that fails is restarted; one that fails again and again ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from daarion_appservice.errors import ExitCode, StartError, TaskFailedRepeatedly
from daarion_appservice.ops.process_metrics import process_registry
from daarion_appservice.realtime.supervisor import MAX_FAILURES, WINDOW_S, Supervisor


class Clock:
    """A clock that advances only by sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def supervisor(clock: Clock) -> Supervisor:
    return Supervisor(lambda: clock.now_s, clock.sleep)


def failing(times: int, error: BaseException, between: Callable[[], None] = lambda: None) -> Any:
    """Work that raises ``error`` so many times, and then returns."""
    left = times

    async def work() -> None:
        nonlocal left
        between()
        if left:
            left -= 1
            raise error

    return work


def restarts(task: str) -> float:
    return process_registry().get_sample_value("daarion_task_restarts_total", {"task": task}) or 0.0


async def test_failed_task_is_restarted_and_counted() -> None:
    clock = Clock()
    kept, before = supervisor(clock), restarts("sweeper")
    await kept.supervise("sweeper", failing(3, ValueError("bad event")))
    assert clock.slept == [0.25, 0.5, 1.0]
    assert restarts("sweeper") == before + 3
    assert (kept.down, kept.restarted()) == ([], ["sweeper"])
    clock.now_s += WINDOW_S
    assert kept.restarted() == []


async def test_task_that_fails_five_times_in_a_minute_raises() -> None:
    clock, error = Clock(), ValueError("bad event")
    with pytest.raises(TaskFailedRepeatedly) as raised:
        await supervisor(clock).supervise("sweeper", failing(MAX_FAILURES, error))
    assert (raised.value.task, raised.value.cause) == ("sweeper", error)
    assert "sweeper" in str(raised.value)


async def test_task_that_fails_seldom_is_kept_for_ever() -> None:
    clock = Clock()

    def wait() -> None:
        clock.now_s += WINDOW_S / 3

    await supervisor(clock).supervise("sweeper", failing(50, ValueError("bad event"), wait))
    assert max(clock.slept) == 1.0


@pytest.mark.parametrize(
    "error",
    [StartError("wrong token", "mend it", ExitCode.HOMESERVER_REFUSED), TaskFailedRepeatedly("inbound", ValueError())],
    ids=lambda error: type(error).__name__,
)
async def test_error_that_ends_the_process_passes_at_once(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error)) as raised:
        await supervisor(clock).supervise("lead", failing(1, error))
    assert raised.value is error
    assert clock.slept == []


async def test_stray_cancellation_restarts_the_task() -> None:
    """A library may raise CancelledError of its own accord; a task must not end silently by that."""
    clock = Clock()
    await supervisor(clock).supervise("lead", failing(1, asyncio.CancelledError()))
    assert clock.slept == [0.25]


async def test_failed_task_group_is_restarted() -> None:
    clock, attempts = Clock(), 0

    async def fail() -> None:
        raise ValueError

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < MAX_FAILURES:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                await asyncio.Event().wait()

    await supervisor(clock).supervise("group", work)
    assert attempts == MAX_FAILURES


async def test_task_in_back_off_is_named_as_down() -> None:
    named: list[list[str]] = []

    async def sleep(_seconds: float) -> None:
        named.append(kept.down)

    kept = Supervisor(sleep=sleep)
    await kept.supervise("sweeper", failing(1, ValueError()))
    assert named == [["sweeper"]]


async def test_cancelled_supervisor_ends_the_task_first() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(Supervisor().supervise("sweeper", work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
