"""How WebSockets and event streams end: refusals, expired tokens, disconnected and slow clients."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import aiohttp
import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.presence import PresenceState, Status, Transition
from daarion_appservice.city.types import SubjectId
from daarion_appservice.errors import DatabaseUnavailable
from daarion_appservice.http.auth.authenticator import TokenPrincipals
from daarion_appservice.http.routes import presence as presence_routes
from daarion_appservice.http.websocket import presence, route, socket_writer
from daarion_appservice.http.websocket.frames import close_frame
from daarion_appservice.http.websocket.presence import PATH
from daarion_appservice.realtime.presence_stream import InitialData
from daarion_appservice.wiring import servers
from tests.parts.city import JWT_SECRET, citizen_token, eventually
from tests.parts.frames import next_frame, next_message
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

HEARTBEAT = {"event": "presence.heartbeat"}
STREAM = "/api/v1/presence/stream"
HOUR_S = 3600


class TokenClock:
    """The clock of the checks of tokens on open connections; a test sets it ahead, in seconds, so that tokens expire."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def token_clock(monkeypatch: pytest.MonkeyPatch) -> TokenClock:
    """The clock of the cities that start after it."""
    clock = TokenClock()
    monkeypatch.setattr(servers, "TokenPrincipals", partial(TokenPrincipals, now_s=clock))
    return clock


def token_of_an_hour() -> str:
    return citizen_token("u_1", exp=int(time.time()) + HOUR_S)


@pytest.fixture
async def city(sqlite_url: str, token_clock: TokenClock) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


@pytest.fixture
async def closed_city(sqlite_url: str, token_clock: TokenClock) -> AsyncIterator[InProcessCity]:
    """One where reading needs a token."""
    async with in_process_city(
        sqlite_url, api={"anonymous_read": False, "jwt": {"secret": JWT_SECRET, "leeway_s": 0}}
    ) as city:
        yield city


@asynccontextmanager
async def connected(
    city: InProcessCity, query: str = "", *, autoping: bool = True
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"ws://{HOST}:{city.city.settings.api.port}{PATH}{query}"
    async with city.session.ws_connect(url, autoping=autoping) as socket:
        yield socket


async def next_event(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    event: dict[str, Any] = await next_frame(socket)
    return event


async def last_words(socket: aiohttp.ClientWebSocketResponse) -> tuple[str, str, int | None]:
    """Event and code of the last event, and what the socket is closed with."""
    frame: dict[str, Any] = {}
    while (message := await next_message(socket)).type is aiohttp.WSMsgType.TEXT:
        frame = json.loads(message.data)
    assert message.type is aiohttp.WSMsgType.CLOSE, "nothing but frames comes over an upgraded connection"
    return frame["event"], frame["code"], socket.close_code


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_word", "code"),
    [
        pytest.param(json.dumps({"event": "auth", "token": "nonsense"}), "token_invalid", id="wrong token"),
        pytest.param(json.dumps({"event": "auth", "token": "agt_01_x"}), "token_invalid", id="unknown agent token"),
        pytest.param(json.dumps(HEARTBEAT), "sign_in", id="another event"),
        pytest.param("hello", "not_json", id="no JSON"),
        pytest.param("[" * 500 + "]" * 500, "not_json", id="no object"),
        pytest.param('{"event":' + "[" * 500 + "]" * 500 + "}", "too_deep", id="too deep"),
        pytest.param(b"\0", "sign_in", id="binary"),
    ],
)
async def test_unauthorized_client_gets_error_frame(
    closed_city: InProcessCity, first_word: str | bytes, code: str
) -> None:
    async with connected(closed_city) as socket:
        await (socket.send_str(first_word) if isinstance(first_word, str) else socket.send_bytes(first_word))
        assert await last_words(socket) == ("error", code, 1008)


async def test_silent_anonymous_client_is_closed(closed_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_PING_S", 0.05)
    async with connected(closed_city) as socket:
        assert await last_words(socket) == ("error", "sign_in", 1008)


async def test_auth_without_database_closes_1013(closed_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise DatabaseUnavailable("connection refused")

    monkeypatch.setattr(closed_city.city.registry, "load", away)
    async with connected(closed_city) as socket:
        await socket.send_json({"event": "auth", "token": "agt_01_x"})
        assert await last_words(socket) == ("error", "database_unavailable", 1013)
    answer = await closed_city.call("GET", "/city/rooms", token="agt_01_x")
    assert (answer.status, answer.content["code"]) == (503, "database_unavailable")


async def test_internal_error_closes_websocket(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(*_: object, **__: object) -> PresenceState:
        raise ZeroDivisionError

    monkeypatch.setattr(city.city.presence, "record_heartbeat", break_down)
    async with connected(city, f"?token={citizen_token('u_1')}") as socket:
        assert (await next_event(socket))["event"] == "presence.snapshot"
        await socket.send_json(HEARTBEAT)
        message = await next_message(socket)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)

    async def is_logged() -> bool:
        return "ZeroDivisionError" in caplog.text

    await eventually(is_logged)


async def test_error_after_response_start_adds_no_response(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(_since: int | None) -> InitialData:
        raise ZeroDivisionError

    monkeypatch.setattr(city.city.stream, "initial_data", break_down)
    reader, writer = await asyncio.open_connection(HOST, city.city.settings.api.port)
    writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: city\r\n\r\n".encode())
    received = await asyncio.wait_for(reader.read(), WAIT_S)
    writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.count(b"HTTP/") == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("origin", ["http://[", "null", "", "http://evil.example"])
async def test_other_origin_is_refused(city: InProcessCity, origin: str) -> None:
    answer = await city.call("GET", PATH, headers={"Origin": origin})
    assert (answer.status, answer.content["code"]) == (403, "origin_not_allowed")


# --- tokens that end ----------------------------------------------------------------------------------


async def test_websocket_closes_when_token_expires(city: InProcessCity, token_clock: TokenClock) -> None:
    async with connected(city, f"?token={token_of_an_hour()}") as socket:
        await socket.send_json(HEARTBEAT)
        assert (await next_event(socket))["event"] == "presence.snapshot"
        assert (await next_event(socket))["user_id"] == "u_1"
        token_clock.ahead_s = HOUR_S
        await socket.send_json(HEARTBEAT)
        assert await last_words(socket) == ("error", "token_expired", 1008)


async def test_reading_websocket_closes_when_token_expires(
    closed_city: InProcessCity, token_clock: TokenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "_PING_S", 0.2)
    async with connected(closed_city, f"?token={token_of_an_hour()}") as socket:
        assert (await next_event(socket))["event"] == "presence.snapshot"
        token_clock.ahead_s = HOUR_S
        assert await last_words(socket) == ("error", "token_expired", 1008)


@pytest.mark.parametrize("what", ["pongs", "wrong tokens"])
async def test_pongs_and_bad_tokens_do_not_prolong(
    closed_city: InProcessCity, token_clock: TokenClock, what: str
) -> None:
    async with connected(closed_city, f"?token={token_of_an_hour()}") as socket:

        async def go_on() -> None:
            while True:
                await (socket.pong() if what == "pongs" else socket.send_json({"event": "auth", "token": "a.b.c"}))
                await asyncio.sleep(0.2)

        going_on = asyncio.create_task(go_on())
        try:
            assert (await next_event(socket))["event"] == "presence.snapshot"
            token_clock.ahead_s = HOUR_S
            assert await last_words(socket) == ("error", "token_expired", 1008)
        finally:
            going_on.cancel()
            await asyncio.wait([going_on])


async def test_event_stream_ends_when_token_expires(closed_city: InProcessCity, token_clock: TokenClock) -> None:
    url = f"http://{HOST}:{closed_city.city.settings.api.port}{STREAM}"
    async with closed_city.session.get(url, params={"token": token_of_an_hour()}) as answer:
        assert answer.status == 200
        token_clock.ahead_s = HOUR_S
        crowd(closed_city, 1)
        received = await asyncio.wait_for(answer.content.read(), WAIT_S)
    assert b"event: snapshot" in received
    assert b"event: presence" not in received
    expired = citizen_token("u_1", exp=int(time.time()) - 1)
    async with closed_city.session.get(url, params={"token": expired}) as answer:
        assert answer.status == 401


async def test_new_token_keeps_websocket(city: InProcessCity, token_clock: TokenClock) -> None:
    async with connected(city, f"?token={token_of_an_hour()}") as socket:
        await next_event(socket)
        await socket.send_json({"event": "auth", "token": citizen_token("u_1", exp=int(time.time()) + 2 * HOUR_S)})
        token_clock.ahead_s = HOUR_S
        await socket.send_json(HEARTBEAT)
        assert (await next_event(socket))["user_id"] == "u_1"


async def test_revoked_agent_token_closes_websocket(city: InProcessCity) -> None:
    async with connected(city, f"?token={await city.agent_token('scribe')}") as socket:
        await next_event(socket)
        await socket.send_json(HEARTBEAT)
        assert (await next_event(socket))["user_id"] == "agent:scribe"
        async with city.city.database.transaction() as tx:
            scribe = await tx.agents.by_slug("scribe")
            assert scribe is not None
            await tx.agents.revoke_tokens(scribe, None, now_ms=1)
        await city.city.registry.load()
        await socket.send_json(HEARTBEAT)
        assert await last_words(socket) == ("error", "token_invalid", 1008)


# --- readers who leave, or take nothing ---------------------------------------------------------------


def crowd(city: InProcessCity, size: int, text: str = "") -> None:
    first = city.city.stream.seq + 1
    for number in range(size):
        transition = Transition(SubjectId(f"u_{number}"), PresenceState(), PresenceState(Status.ONLINE, text))
        city.city.stream.on_presence_changed(PresenceChanged(transition, first + number))


async def test_client_disconnect_logs_no_error(city: InProcessCity) -> None:
    url = f"http://{HOST}:{city.city.settings.api.port}"
    with capture_logs() as logs:
        async with city.session.get(f"{url}{STREAM}") as answer:
            await answer.content.readany()
        _, writer = await asyncio.open_connection(HOST, city.city.settings.api.port)
        writer.write(
            b"POST /city/rooms HTTP/1.1\r\nHost: city\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
            b"Authorization: Bearer " + citizen_token("u_1").encode() + b"\r\n\r\n{"
        )
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()

        async def nobody_listens() -> bool:
            crowd(city, 3)
            return not city.city.stream.listeners

        await eventually(nobody_listens)
    assert logs == []


async def raw_upgrade(city: InProcessCity) -> socket.socket:
    """A WebSocket whose peer takes nothing beyond what its kernel takes for it."""
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await loop.sock_connect(peer, (HOST, city.city.settings.api.port))
    key = base64.b64encode(bytes(16)).decode()
    lines = [f"GET {PATH} HTTP/1.1", f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
    await loop.sock_sendall(peer, "\r\n".join(lines).encode())
    return peer


async def test_vanished_peer_is_detected(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_PING_S", 0.5)  # long enough to be seen listening
    monkeypatch.setattr(route, "_PONG_S", 0.05)
    peer = await raw_upgrade(city)
    stream = city.city.stream

    async def listens() -> bool:
        return bool(stream.listeners)

    async def is_left() -> bool:
        return not stream.listeners

    await eventually(listens)
    await eventually(is_left)
    peer.close()


async def test_listening_peer_with_pongs_stays(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_PING_S", 0.05)
    async with connected(city, autoping=False) as socket:
        for _ in range(3):
            while (message := await next_message(socket)).type is not aiohttp.WSMsgType.PING:
                assert message.type is aiohttp.WSMsgType.TEXT
            await socket.pong(message.data)
        await socket.ping(b"are you there?")
        while (message := await next_message(socket)).type is not aiohttp.WSMsgType.PONG:
            assert message.type is aiohttp.WSMsgType.PING
            await socket.pong(message.data)
        assert message.data == b"are you there?"


@pytest.mark.parametrize("wakes_up", [True, False], ids=["and reads at last", "and never reads"])
async def test_slow_reader_is_closed_1013(city: InProcessCity, monkeypatch: pytest.MonkeyPatch, wakes_up: bool) -> None:
    monkeypatch.setattr(socket_writer, "CLOSE_TIMEOUT_S", WAIT_S if wakes_up else 0.1)
    peer = await raw_upgrade(city)
    stream = city.city.stream

    async def listens() -> bool:
        return bool(stream.listeners)

    await eventually(listens)
    (session,) = stream.listeners
    writer = cast("presence._Session", session)._writer
    assert writer is not None
    transport = writer._transport
    tick_bytes = 2000 * 600
    largest = 0
    for _ in range(200):
        crowd(city, 2000, "x" * 400)
        city.city.stream._flush()
        largest = max(largest, transport.get_write_buffer_size())
        if transport.is_closing():
            break
        await asyncio.sleep(0)
    assert transport.is_closing()
    assert largest < socket_writer._MAX_BUFFER_BYTES + 2 * tick_bytes

    if wakes_up:
        loop, received = asyncio.get_running_loop(), b""
        while chunk := await loop.sock_recv(peer, 1 << 20):
            received = (received + chunk)[-1000:]
        assert received.endswith(close_frame(1013, "too slow: reconnect with since"))

    async def is_left() -> bool:
        return not stream.listeners and transport.get_write_buffer_size() == 0

    await eventually(is_left)
    peer.close()


async def test_disconnected_event_stream_frees_its_place_at_once(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither a comment nor a change is written, to which the server could notice that nobody reads.
    monkeypatch.setattr(presence_routes, "_COMMENT_S", 3600.0)
    async with in_process_city(sqlite_url, limits={"sockets_per_subject": 1}) as city:
        url = f"http://{HOST}:{city.city.settings.api.port}{STREAM}"
        headers = {"Authorization": f"Bearer {citizen_token('u_1')}"}
        async with city.session.get(url, headers=headers) as opened:
            await opened.content.readany()
            async with city.session.get(url, headers=headers) as refused:
                assert refused.status == 429

        async def is_open() -> bool:
            async with city.session.get(url, headers=headers) as again:
                return again.status == 200

        await eventually(is_open)
