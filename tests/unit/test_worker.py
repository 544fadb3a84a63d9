"""The loop of a background task, without I/O: wake, idle time, back-off and its log lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from daarion_appservice.errors import ConstraintViolated, DatabaseUnavailable, HomeserverUnavailable
from daarion_appservice.realtime import database_retry
from daarion_appservice.realtime import worker as worker_module
from daarion_appservice.realtime.worker import Worker
from tests.parts.waiting import WAIT_S


class FakeMonitor:
    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.errors: list[HomeserverUnavailable] = []

    async def wait_up(self) -> None:
        await self.up.wait()

    def report_unavailable(self, error: HomeserverUnavailable) -> None:
        self.errors.append(error)


class Steps:
    """Counts the steps; those with an entry in ``results`` raise or return it."""

    def __init__(self, *results: float | Exception | None) -> None:
        self.count = 0
        self._results = list(results)

    async def __call__(self) -> float | None:
        self.count += 1
        result = self._results.pop(0) if self._results else None
        if isinstance(result, Exception):
            raise result
        return result


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def short_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_retry, "RETRY_S", 0.01)
    monkeypatch.setattr(worker_module, "RETRY_S", 0.01)


@asynccontextmanager
async def running(worker: Worker, step: Callable[[], Awaitable[float | None]], **options: bool) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run(step, **options))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_wake_starts_next_step() -> None:
    worker, steps = Worker("task", idle_s=None), Steps()
    async with running(worker, steps):
        await until(lambda: steps.count == 1)
        worker.wake()
        await until(lambda: steps.count == 2)


async def test_wake_during_step_starts_another() -> None:
    worker, count = Worker("task", idle_s=None), 0

    async def step() -> None:
        nonlocal count
        count += 1
        if count == 1:
            worker.wake()

    async with running(worker, step):
        await until(lambda: count == 2)


async def test_step_repeats_after_idle_time() -> None:
    steps = Steps()
    async with running(Worker("task", idle_s=0.01), steps):
        await until(lambda: steps.count >= 3)


async def test_returned_time_replaces_idle_time() -> None:
    steps = Steps(0.01, -1.0)
    async with running(Worker("task", idle_s=None), steps):
        await until(lambda: steps.count == 3)


async def test_waits_first_defers_first_step_until_wake() -> None:
    worker, steps = Worker("task", idle_s=None), Steps()
    async with running(worker, steps, waits_first=True):
        await asyncio.sleep(0.02)
        assert steps.count == 0
        worker.wake()
        await until(lambda: steps.count == 1)


async def test_database_outage_logs_once_and_its_end() -> None:
    steps = Steps(DatabaseUnavailable("refused"), DatabaseUnavailable("refused"), DatabaseUnavailable("refused"))
    with capture_logs() as logs:
        async with running(Worker("task", idle_s=None), steps):
            await until(lambda: steps.count == 4)
    assert [(each["event"], each["task"], each.get("exc_info")) for each in logs] == [
        ("task_waits_for_database", "task", None),
        ("task_continues", "task", None),
    ]


async def test_refused_statement_is_logged_with_traceback() -> None:
    error = ConstraintViolated("UNIQUE")
    with capture_logs() as logs:
        steps = Steps(error)
        async with running(Worker("task", idle_s=None), steps):
            await until(lambda: steps.count == 2)
    assert logs[0]["exc_info"] is error


async def test_step_waits_until_homeserver_is_up() -> None:
    monitor, steps = FakeMonitor(), Steps()
    async with running(Worker("task", idle_s=None, monitor=monitor), steps):
        await asyncio.sleep(0.02)
        assert steps.count == 0
        monitor.up.set()
        await until(lambda: steps.count == 1)


async def test_unavailable_homeserver_repeats_step() -> None:
    error = HomeserverUnavailable("no response")
    monitor, steps = FakeMonitor(), Steps(error)
    monitor.up.set()
    async with running(Worker("task", idle_s=None, monitor=monitor), steps):
        await until(lambda: steps.count == 2)
    assert monitor.errors == [error]


@pytest.mark.parametrize("error", [ValueError(), HomeserverUnavailable("no response")])
async def test_unexpected_error_ends_run(error: Exception) -> None:
    with pytest.raises(type(error)):
        await Worker("task", idle_s=None).run(Steps(error))
