"""The first connection to the homeserver: errors of its address and of TLS are reported at once, with advice."""

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

from daarion_appservice.errors import StartError
from daarion_appservice.matrix.client import startup_checks
from daarion_appservice.matrix.client.connection_advice import callback_advice
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from tests.parts.certificates import self_signed
from tests.parts.city import eventually
from tests.parts.ports import HOST, free_port
from tests.parts.raw_listeners import accepting, closing_tls_listener

TLS_HANDSHAKE = b"\x16"
"""The type of the first record of a TLS connection (RFC 8446, section 5.1)."""
PROTOCOL_VERSION_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
"""The fatal alert of a server that speaks another version of TLS than its client (RFC 8446, section 6.2)."""


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = TestServer(web.Application(), host=HOST)
    await server.start_server(ssl=context)
    yield server.port or 0
    await server.close()


@asynccontextmanager
async def bad_request_without_tls(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A listener that answers 400 where no TLS is spoken, as nginx, Caddy and Apache do."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == TLS_HANDSHAKE:
            await forward(reader, writer)
        else:
            page = b"<h1>The plain HTTP request was sent to HTTPS port</h1>"
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
            await writer.drain()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls_reader, tls_writer = await asyncio.open_connection(HOST, tls_port)
        tls_writer.write(TLS_HANDSHAKE + await reader.read(65_536))
        writer.write(await tls_reader.read(65_536))
        tls_writer.write(await reader.read(65_536))
        writer.write(await tls_reader.read(65_536))
        tls_writer.close()

    async with closing_tls_listener(context) as tls_port, accepting(answer) as port:
        yield port


async def first_warning(address: str) -> EventDict:
    """What is logged first while the homeserver at ``address`` is waited for."""
    homeserver = Homeserver(address, "as_token")
    with capture_logs() as logs:
        waiting = asyncio.create_task(
            startup_checks._wait_for_homeserver(homeserver, HomeserverMonitor(homeserver, "city"))
        )

        async def logged() -> bool:
            return any(line["event"] == "homeserver_unavailable" for line in logs)

        await eventually(logged)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    await homeserver.close()
    return next(line for line in logs if line["event"] == "homeserver_unavailable")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The general warning comes later than any test waits: what is said is said because of its cause."""
    monkeypatch.setattr(startup_checks, "_LOG_AFTER_S", 3600.0)


@pytest.mark.usefixtures("patient")
async def test_https_on_http_port_advises_http() -> None:
    async with listening() as port:
        assert "must begin with http://" in (await first_warning(f"https://{HOST}:{port}"))["help"]


@pytest.mark.usefixtures("patient")
async def test_untrusted_certificate_advises_trust(tmp_path: Path) -> None:
    async with listening(self_signed(tmp_path)) as port:
        assert "homeserver.verify_tls" in (await first_warning(f"https://{HOST}:{port}"))["help"]


@pytest.mark.usefixtures("patient")
async def test_http_on_https_port_advises_https(tmp_path: Path) -> None:
    """Synapse closes the connection; nginx and others answer 400."""
    async with closing_tls_listener(self_signed(tmp_path)) as port:
        assert "must begin with https://" in (await first_warning(f"http://{HOST}:{port}"))["help"]


async def test_https_on_silent_http_listener_advises_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synapse's own listener waits for the end of the line that a TLS handshake seems to be."""
    monkeypatch.setattr(startup_checks, "_LOG_AFTER_S", 0.2)

    async def line_by_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with accepting(line_by_line) as port:
        assert "must begin with http://" in (await first_warning(f"https://{HOST}:{port}"))["help"]


async def test_tls_proxy_answering_400_to_http_advises_https(tmp_path: Path) -> None:
    async with bad_request_without_tls(self_signed(tmp_path)) as port:
        address = f"http://{HOST}:{port}"
        homeserver = Homeserver(address, "as_token")
        with pytest.raises(StartError) as raised:
            await startup_checks._wait_for_homeserver(homeserver, HomeserverMonitor(homeserver, "city"))
        await homeserver.close()
    assert "must begin with https://" in raised.value.help


@pytest.mark.usefixtures("patient")
async def test_refused_handshake_is_not_taken_for_http() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(PROTOCOL_VERSION_ALERT)

    async with accepting(refuse) as port:
        assert "The TLS handshake fails" in (await first_warning(f"https://{HOST}:{port}"))["help"]


async def test_homeserver_that_changes_to_tls_is_named(tmp_path: Path) -> None:
    async with closing_tls_listener(self_signed(tmp_path)) as port:
        homeserver = Homeserver(f"http://{HOST}:{port}", "as_token")
        monitor = HomeserverMonitor(homeserver, "city")
        monitor.mark_up()
        with capture_logs() as logs:
            watching = asyncio.create_task(monitor.run())

            async def named() -> bool:
                return any("must begin with https://" in line["help"] for line in logs)

            await eventually(named)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        await homeserver.close()
    assert [line["event"] for line in logs] == ["homeserver_lost", "homeserver_lost"]


@pytest.mark.parametrize(
    ("scheme", "reason", "advice"),
    [
        ("https", "OpenSSL.SSL.Error: [('SSL routines', '', 'wrong version number')]", "must begin with http://"),
        ("https", "OpenSSL.SSL.Error: [('SSL routines', '', 'certificate verify failed')]", "TLS certificate"),
        ("http", "OpenSSL.SSL.Error: [('SSL routines', '', 'wrong version number')]", "must begin with http://"),
        ("https", "HTTP 403 Forbidden", None),
        ("http", "Timeout waiting for response from remote server", "must begin with https://"),
    ],
)
async def test_callback_that_fails_for_tls_is_named(
    tmp_path: Path, scheme: str, reason: str, advice: str | None
) -> None:
    async with closing_tls_listener(self_signed(tmp_path)) as port:
        found = await callback_advice(f"{scheme}://{HOST}:{port}", reason)
    assert (found is None) if advice is None else (advice in (found or ""))


async def test_callback_without_listener_blames_not_tls() -> None:
    assert await callback_advice(f"http://{HOST}:{free_port()}", "Connection was refused by other side: 111") is None


@pytest.mark.usefixtures("patient")
async def test_unknown_host_name_advises_name() -> None:
    assert "does not resolve" in (await first_warning("http://homeserver.invalid:8008"))["help"]


async def test_refused_connection_asks_whether_synapse_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_checks, "_LOG_AFTER_S", 0.2)
    assert "Is Synapse running" in (await first_warning(f"http://{HOST}:{free_port()}"))["help"]


async def test_silent_homeserver_is_reported_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_checks, "_LOG_AFTER_S", 0.2)

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await _reader.read()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    line = await first_warning(f"http://{HOST}:{port}")
    assert "did not answer within" in line["reason"]
    server.close()
