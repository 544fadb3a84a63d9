"""The demo waits for the service as long as that goes on setting up rooms and ghosts, and no longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daarion_appservice.config import loading
from daarion_appservice.demo import runner as house_module
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.files import DemoFiles, Ports
from daarion_appservice.demo.runner import DemoRunner
from daarion_appservice.errors import StartError

SETTING_UP = {"database": "ok", "homeserver": "ok", "rooms_and_ghosts": "being set up", "redis": "away"}
AWAY = {"database": "ok", "homeserver": "away", "rooms_and_ghosts": "being set up"}
READY = {"database": "ok", "homeserver": "ok", "rooms_and_ghosts": "ok"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoRunner:
    monkeypatch.setattr(house_module, "READY_S", 0.3)
    monkeypatch.setattr(house_module, "_LOOK_S", 0.02)
    return DemoRunner(DemoFiles(tmp_path), Ports(1, 2, 3))


async def wait(house: DemoRunner, answers: Iterator[dict[str, str]]) -> float:
    """How long it waited, in seconds, for a service whose /readyz gives ``answers``."""

    async def readyz(_request: web.Request) -> web.Response:
        checks = next(answers)
        return web.json_response({"checks": checks}, status=200 if checks == READY else 503)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    server = TestServer(app)
    await server.start_server()
    begun = time.monotonic()
    child = Child("Service", python("nothing"), house.files.log("service"))
    checks: dict[str, Any] = {"goes_on": house_module._is_set_up}
    try:
        await house._until(child, str(server.make_url("/readyz")), house_module._is_ok, **checks)
    finally:
        await server.close()
    return time.monotonic() - begun


async def test_set_up_longer_than_deadline_waited_for(house: DemoRunner) -> None:
    def answers() -> Iterator[dict[str, str]]:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.9:
            yield SETTING_UP
        yield READY

    assert await wait(house, answers()) >= 0.9


async def test_service_without_homeserver_given_up_after_deadline(house: DemoRunner) -> None:
    def answers() -> Iterator[dict[str, str]]:
        while True:
            yield AWAY

    with pytest.raises(StartError, match="not ready after"):
        await wait(house, answers())


@pytest.mark.parametrize(
    ("agents_core", "expected"), [("", "http://127.0.0.1:4"), ("http://127.0.0.1:5", "http://127.0.0.1:5")]
)
def test_prepare_sets_agents_core(tmp_path: Path, agents_core: str, expected: str) -> None:
    files = DemoFiles(tmp_path)
    with files.ours():
        files.prepare(Ports(1, 2, 3, agents=4), agents_core)
    assert loading.load(files.config, {}).agents_core.url == expected
