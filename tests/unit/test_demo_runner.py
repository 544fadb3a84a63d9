"""The demo waits for the service while rooms and ghosts are being set up, and not longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daarion_appservice.config import loading
from daarion_appservice.demo import runner as runner_module
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.files import DemoFiles, Ports
from daarion_appservice.demo.runner import DemoRunner
from daarion_appservice.errors import StartError

SETTING_UP = {"database": "ok", "homeserver": "ok", "rooms_and_ghosts": "being set up", "redis": "away"}
AWAY = {"database": "ok", "homeserver": "away", "rooms_and_ghosts": "being set up"}
READY = {"database": "ok", "homeserver": "ok", "rooms_and_ghosts": "ok"}


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoRunner:
    monkeypatch.setattr(runner_module, "READY_S", 2.0)
    monkeypatch.setattr(runner_module, "_CHECK_INTERVAL_S", 0.02)
    return DemoRunner(DemoFiles(tmp_path), Ports(1, 2, 3))


async def wait(runner: DemoRunner, answers: Iterator[dict[str, str]]) -> float:
    """Return how long the demo waited, in seconds, for a service whose /readyz returns ``answers``."""

    async def readyz(_request: web.Request) -> web.Response:
        checks = next(answers)
        return web.json_response({"checks": checks}, status=200 if checks == READY else 503)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    server = TestServer(app)
    await server.start_server()
    begun = time.monotonic()
    child = Child("Service", python("nothing"), runner.files.log("service"))
    checks: dict[str, Any] = {"extends": runner_module._is_set_up}
    try:
        await runner._wait_until(child, str(server.make_url("/readyz")), runner_module._is_ok, **checks)
    finally:
        await server.close()
    return time.monotonic() - begun


async def test_set_up_beyond_deadline_is_awaited(runner: DemoRunner) -> None:
    def answers() -> Iterator[dict[str, str]]:
        begun = time.monotonic()
        while time.monotonic() - begun < 3.0:
            yield SETTING_UP
        yield READY

    assert await wait(runner, answers()) >= 3.0


async def test_service_without_homeserver_times_out(runner: DemoRunner) -> None:
    def answers() -> Iterator[dict[str, str]]:
        while True:
            yield AWAY

    with pytest.raises(StartError, match="not ready after"):
        await wait(runner, answers())


@pytest.mark.parametrize(
    ("agents_core", "expected"), [("", "http://127.0.0.1:4"), ("http://127.0.0.1:5", "http://127.0.0.1:5")]
)
def test_prepare_sets_agents_core(tmp_path: Path, agents_core: str, expected: str) -> None:
    files = DemoFiles(tmp_path)
    with files.ours():
        files.prepare(Ports(1, 2, 3, agents=4), agents_core)
    assert loading.load(files.config, {}).agents_core.url == expected
