"""The first connection to the homeserver: what only a correction mends is said at once, with the correction."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs
from structlog.typing import EventDict

from daarion_appservice.matrix import check_in
from daarion_appservice.matrix.homeserver import Homeserver
from daarion_appservice.matrix.homeserver_watch import HomeserverWatch
from tests.parts.certificates import self_signed
from tests.parts.city import eventually
from tests.parts.ports import HOST, free_port


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = TestServer(web.Application(), host=HOST)
    await server.start_server(ssl=context)
    yield server.port or 0
    await server.close()


async def first_warning(address: str) -> EventDict:
    """What is logged first while the homeserver at ``address`` is waited for."""
    homeserver = Homeserver(address, "as_token")
    with capture_logs() as logs:
        waiting = asyncio.create_task(check_in._wait_for(homeserver, HomeserverWatch(homeserver, "city")))

        async def logged() -> bool:
            return any(line["event"] == "homeserver_away" for line in logs)

        await eventually(logged)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    await homeserver.close()
    return next(line for line in logs if line["event"] == "homeserver_away")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The general warning comes later than any test waits: what is said is said because of its cause."""
    monkeypatch.setattr(check_in, "_TELL_AFTER_S", 3600.0)


@pytest.mark.usefixtures("patient")
async def test_https_on_http_port_advises_http() -> None:
    async with listening() as port:
        assert "must begin with http://" in (await first_warning(f"https://{HOST}:{port}"))["help"]


@pytest.mark.usefixtures("patient")
async def test_untrusted_certificate_advises_trust(tmp_path: Path) -> None:
    async with listening(self_signed(tmp_path)) as port:
        assert "homeserver.verify_tls" in (await first_warning(f"https://{HOST}:{port}"))["help"]


@pytest.mark.usefixtures("patient")
async def test_unknown_host_name_advises_name() -> None:
    assert "does not resolve" in (await first_warning("http://homeserver.invalid:8008"))["help"]


async def test_refused_connection_asks_whether_synapse_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_in, "_TELL_AFTER_S", 0.2)
    assert "Is Synapse running" in (await first_warning(f"http://{HOST}:{free_port()}"))["help"]


async def test_silent_homeserver_reported_while_its_request_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_in, "_TELL_AFTER_S", 0.2)

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await _reader.read()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    line = await first_warning(f"http://{HOST}:{port}")
    assert "did not answer within" in line["reason"]
    server.close()
