"""Tests of the limits of open connections, of frames of a WebSocket, and of pages during writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.parts.city import eventually
from tests.parts.frames import next_message
from tests.parts.in_process_city import InProcessCity
from tests.parts.limits import (
    HOME,
    IVAN,
    MESSAGES,
    OKSANA,
    OTHER_HOME,
    PRESENCE_SOCKET,
    ROOM_SOCKET,
    Open,
    next_of,
    opening_with_limits,
    say,
    socket,
)
from tests.parts.ports import HOST

STREAM = "/api/v1/presence/stream"


@pytest.fixture
async def limited(sqlite_url: str) -> AsyncIterator[Open]:
    """Opens a city with these limits: ``await limited(messages="2/hour")``."""
    async with opening_with_limits(sqlite_url) as open_one:
        yield open_one


# --- what stays open ----------------------------------------------------------------------------------


async def opens(city: InProcessCity, path: str, token: str = "", address: str = HOST) -> bool:
    """Whether one more could be opened; it is closed again."""
    try:
        async with socket(city, path, token, address):
            return True
    except aiohttp.WSServerHandshakeError as error:
        refusal = error
    assert refusal.status == 429
    assert refusal.headers is not None
    assert int(refusal.headers["Retry-After"]) >= 1
    return False


async def test_connections_of_a_citizen_are_limited(limited: Open) -> None:
    city = await limited(sockets_per_subject=2)
    stream = f"http://{HOST}:{city.city.settings.api.port}{STREAM}?token={OKSANA}"
    async with socket(city, PRESENCE_SOCKET, OKSANA), city.session.get(stream) as events:
        assert events.status == 200
        assert not await opens(city, ROOM_SOCKET, OKSANA)
        async with city.session.get(stream) as refused:
            assert refused.status == 429
        assert await opens(city, ROOM_SOCKET, IVAN)
        async with socket(city, ROOM_SOCKET) as nobody:
            await nobody.send_json({"event": "auth", "token": OKSANA})
            assert (await next_of(nobody, "error"))["code"] == "too_many_requests"
            await nobody.send_json({"event": "city.room.send", "body": "as whom?"})
            assert (await next_of(nobody, "error"))["code"] == "sign_in"
            await nobody.send_json({"event": "auth", "token": IVAN})
            await nobody.send_json({"event": "city.room.send", "body": "as Ivan"})
            assert (await next_of(nobody, "city.room.message"))["message"]["author"]["id"] == "u_2"

    async def is_free() -> bool:
        return await opens(city, ROOM_SOCKET, OKSANA)

    await eventually(is_free)


async def test_connections_of_an_address_are_limited(limited: Open) -> None:
    city = await limited(sockets_per_address=2)
    scribe = await city.agent_token("scribe")
    async with socket(city, PRESENCE_SOCKET, address=HOME), socket(city, PRESENCE_SOCKET, OKSANA, address=HOME):
        assert [await opens(city, ROOM_SOCKET, each, HOME) for each in ("", IVAN, scribe)] == [False, False, True]
        assert await opens(city, ROOM_SOCKET, address=OTHER_HOME)
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(socket(city, PRESENCE_SOCKET))


async def test_missing_room_takes_no_connection_lease(limited: Open) -> None:
    city = await limited(sockets_per_subject=1)
    for _ in range(3):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with socket(city, "/ws/city/rooms/nowhere", OKSANA):
                pass
    assert await opens(city, ROOM_SOCKET, OKSANA)


# --- floods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["heartbeats", "nonsense", "bytes", "pings"])
async def test_flooded_websocket_is_closed(limited: Open, what: str) -> None:
    city = await limited(socket_events="20/hour")
    async with socket(city, PRESENCE_SOCKET, OKSANA) as opened:
        send = {
            "heartbeats": lambda: opened.send_json({"event": "presence.heartbeat"}),
            "nonsense": lambda: opened.send_str("?"),
            "bytes": lambda: opened.send_bytes(b"\0"),
            "pings": opened.ping,
        }[what]
        for _ in range(41):
            await send()
        refusals = []
        while (message := await next_message(opened)).type is aiohttp.WSMsgType.TEXT:
            event = message.json()
            if event.get("code") == "too_many_requests":
                refusals.append(event["retry_after_ms"])
        assert len(refusals) == 21
        assert 0 < refusals[0] < refusals[-1]
        assert opened.close_code == 1008


# --- sizes and pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "at_most"), [(PRESENCE_SOCKET, 16 * 1024), (ROOM_SOCKET, 256 * 1024)])
async def test_too_large_event_closes_websocket(limited: Open, path: str, at_most: int) -> None:
    city = await limited()
    async with socket(city, path, OKSANA) as opened:
        await opened.send_str("x" * (at_most - 1))
        assert (await next_of(opened, "error"))["code"] == "not_json"
        await opened.send_str("x" * (at_most + 1))
        while (await next_message(opened)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert opened.close_code == 1009


@pytest.mark.parametrize("path", [MESSAGES, "/city/feed"])
async def test_pagination_is_stable_during_writes(limited: Open, path: str) -> None:
    city = await limited()
    cursor = "seq" if path == MESSAGES else "id"
    for number in range(10):
        await say(city, f"old {number}")
    found: list[str] = []
    before = ""
    while page := await city.get(f"{path}?limit=3{before}"):
        newest_first = page[::-1] if path == MESSAGES else page
        found += [each.get("body") or each["payload"].get("body") for each in newest_first]
        before = f"&before={newest_first[-1][cursor]}"
        await say(city, "new", token=IVAN)
    assert [body for body in found if body] == [f"old {number}" for number in reversed(range(10))]
