"""The doctor asks a running service, also through a proxy, and an agents core."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daarion_appservice.clock import now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.doctor import deliveries, public
from daarion_appservice.doctor.public import judge_handshake, judge_site
from daarion_appservice.doctor.service import judge_readiness
from daarion_appservice.storage.inbox import ReceivedEvent
from tests.parts.agents_core import ScriptedCore
from tests.parts.doctor import expect_finding, write_config
from tests.parts.http_proxy import HttpProxy
from tests.parts.in_process_city import InProcessCity
from tests.parts.ports import HOST, free_port
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver
from tests.parts.tcp_proxy import tcp_proxy_to

URL = "https://city.example"


@pytest.fixture
def config(tmp_path: Path, sqlite_city: InProcessCity) -> Path:
    """The configuration of the running city."""
    settings = sqlite_city.city.settings
    ports = {"api.port": settings.api.port, "matrix.port": settings.matrix.port}
    return write_config(tmp_path, ports | {"database.url": settings.database.url})


# --- the service --------------------------------------------------------------------------------------


async def test_running_service_passes(config: Path) -> None:
    await expect_finding("service", config, "pass", "It answers at")
    await expect_finding("ports", config, "pass", "The service has bound them")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    await expect_finding("open_files", config, "warn" if soft < 4096 else "pass", f"{soft} files")
    await expect_finding("readiness", config, "fail", "homeserver: away")


async def test_other_program_on_port_is_named(config: Path) -> None:
    app = web.Application()
    server = TestServer(app)
    await server.start_server()
    assert server.port is not None
    config_edit.set_values(config, {"matrix.port": server.port})
    await expect_finding("service", config, "fail", "Another program answers")
    await expect_finding("ports", config, "fail", "matrix.port", "another program uses the port")
    await server.close()


async def test_free_ports_pass(config: Path) -> None:
    config_edit.set_values(config, {"matrix.port": free_port(), "api.port": free_port()})
    await expect_finding("ports", config, "pass", "are free")
    await expect_finding("service", config, "warn", "systemctl start")


@pytest.mark.parametrize(
    ("parts", "status", "named"),
    [
        ({"database": "ok", "tasks": "ok"}, "pass", "All 2 parts"),
        ({"database": "ok", "deliveries": "warning"}, "warn", "deliveries: broken"),
        ({"database": "failed", "deliveries": "warning"}, "fail", "database: broken"),
    ],
)
def test_readiness_is_judged(parts: dict[str, str], status: str, named: str) -> None:
    content = {"parts": {name: {"status": each, "detail": "broken"} for name, each in parts.items()}}
    found = judge_readiness(content)
    assert (found.status.value, named in found.summary) == (status, True), found
    assert judge_readiness({"checks": {}}).status.value == "warn"


# --- deliveries ---------------------------------------------------------------------------------------


async def test_event_that_is_not_delivered_is_named(
    config: Path, sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_ECHO_TIMEOUT_S", 0.5)
    homeserver, database = ScriptedHomeserver(), sqlite_city.city.database

    def answer_once() -> None:
        homeserver.next("alias", Reply(200, {"room_id": "!space"}))
        homeserver.next("joined_rooms", Reply(200, {"joined_rooms": ["!space"]}))
        homeserver.next("probe", Reply(200, {"event_id": "$probe"}))

    async with homeserver.serving():
        config_edit.set_values(config, {"homeserver.address": homeserver.url})
        answer_once()
        await expect_finding("probe_event", config, "fail", "did not come back within 0.5 seconds", "appservice")
        # A sweep fetches the event: it did not come by a transaction.
        async with database.transaction() as tx:
            await tx.inbox.add([ReceivedEvent("$probe", "!space", "{}")], now_ms=now_ms())
        answer_once()
        await expect_finding("probe_event", config, "fail", "did not come back")


# --- the public address -------------------------------------------------------------------------------


async def test_transparent_proxy_passes(config: Path, sqlite_city: InProcessCity) -> None:
    await expect_finding("public_pages", config, "skip", "public_url is empty")
    async with tcp_proxy_to(sqlite_city.city.settings.api.port) as proxy:
        config_edit.set_values(config, {"api.public_url": proxy.url})
        for name in ("public_pages", "public_websocket", "public_events"):
            await expect_finding(name, config, "pass")


@pytest.fixture
async def proxy(config: Path, sqlite_city: InProcessCity) -> AsyncIterator[HttpProxy]:
    """A proxy that drops Upgrade and Host, and buffers responses."""
    proxy = HttpProxy(sqlite_city.city.settings.api.port)
    await proxy.start()
    config_edit.set_values(config, {"api.public_url": proxy.url})
    yield proxy
    await proxy.stop()


async def test_proxy_that_drops_upgrade_is_named(config: Path, proxy: HttpProxy) -> None:
    await expect_finding("public_pages", config, "pass")
    await expect_finding("public_websocket", config, "fail", "Upgrade", "proxy_http_version 1.1")


async def test_buffering_proxy_is_named(config: Path, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "_FIRST_BYTES_S", 0.5)
    await expect_finding("public_events", config, "warn", "the proxy buffers", "proxy_buffering off")


async def test_proxy_without_target_is_named(config: Path, proxy: HttpProxy) -> None:
    proxy.target_port = free_port()
    await expect_finding("public_pages", config, "fail", "answers 502", "section `api`")


async def test_public_address_without_server_is_named(config: Path) -> None:
    config_edit.set_values(config, {"api.public_url": f"http://{HOST}:{free_port()}"})
    await expect_finding("public_pages", config, "fail", "does not answer from this machine", "DNS")


@pytest.mark.parametrize(
    ("status", "content", "named"),
    [(421, "", "Host $host"), (503, "", "answers 503"), (200, "<html>", "Another site"), (404, "", "Another site")],
)
def test_response_through_proxy_is_judged(status: int, content: str, named: str) -> None:
    found = judge_site(URL, status, content)
    assert found.status.value == "fail"
    assert named in f"{found.summary} {found.advice}"


@pytest.mark.parametrize(("status", "named"), [(403, "Host $host"), (400, "Upgrade"), (426, "Upgrade"), (500, "500")])
def test_failed_handshake_is_judged(status: int, named: str) -> None:
    found = judge_handshake(URL, status)
    assert found.status.value == "fail"
    assert named in f"{found.summary} {found.advice}"


# --- the agents core ----------------------------------------------------------------------------------


@pytest.fixture
async def core(config: Path) -> AsyncIterator[ScriptedCore]:
    core = ScriptedCore()
    async with core.serving():
        config_edit.set_values(config, {"agents_core.url": core.url})
        yield core


async def test_agents_core_that_replies_passes(config: Path, core: ScriptedCore) -> None:
    await expect_finding("agents_core", config, "pass", "second_me replied after", "invoke")
    assert len(core.requests) == 1


@pytest.mark.parametrize(
    ("status", "named"),
    [(401, "agents_core.token"), (404, "agents_core.kind to openai"), (500, "log of the core")],
)
async def test_refusing_agents_core_is_named(config: Path, core: ScriptedCore, status: int, named: str) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    core.next(refuse)
    await expect_finding("agents_core", config, "fail", f"status {status}", named)


async def test_silent_agents_core_is_named(config: Path, core: ScriptedCore) -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    core.next(hang)
    config_edit.set_values(config, {"agents_core.timeout_s": 0.2})
    await expect_finding("agents_core", config, "fail", "did not respond within 0.2 seconds", "timeout_s")
