"""Tests of rate limits by HTTP and WebSocket, and of guessed tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse, InProcessCity
from tests.parts.limits import (
    HOME,
    IVAN,
    MESSAGES,
    OKSANA,
    OTHER_HOME,
    PRESENCE_SOCKET,
    ROOM_SOCKET,
    Open,
    by,
    next_of,
    opening_with_limits,
    say,
    socket,
)
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S


@pytest.fixture
async def limited(sqlite_url: str) -> AsyncIterator[Open]:
    """Opens a city with these limits: ``await limited(messages="2/hour")``."""
    async with opening_with_limits(sqlite_url) as open_one:
        yield open_one


def is_refused(answer: HttpResponse) -> bool:
    if answer.status != 429:
        return False
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.content["code"] == "too_many_requests"
    assert int(answer.headers["Retry-After"]) >= 1
    return True


# --- rates of citizens and agents ---------------------------------------------------------------------


async def test_http_and_websocket_messages_share_limit(limited: Open) -> None:
    city = await limited(messages="3/hour")
    assert (await say(city)).status == 201
    async with socket(city, ROOM_SOCKET, OKSANA) as room:
        for body in ("two", "three", "four"):
            await room.send_json({"event": "city.room.send", "body": body, "client_id": body})
        # The error is not a frame of the room's stream: it may come between the messages.
        frames = [await next_of(room, "city.room.message", "error") for _ in range(3)]
        assert [frame["message"]["body"] for frame in frames if "message" in frame] == ["two", "three"]
        (refusal,) = [frame for frame in frames if frame["event"] == "error"]
        assert refusal["code"] == "too_many_requests"
        assert refusal["client_id"] == "four"
        assert 3_500_000 < refusal["retry_after_ms"] <= 3_600_000
    refused = await say(city)
    assert is_refused(refused)
    assert 3_500 < int(refused.headers["Retry-After"]) <= 3_600
    assert [each["body"] for each in await city.get(MESSAGES)] == ["hi", "two", "three"]
    # The limits of others are unchanged, and the refused client may still read and type.
    assert (await say(city, token=IVAN)).status == 201
    assert (await say(city, token=await city.agent_token("scribe"))).status == 201
    assert (await city.call("PUT", "/city/rooms/general/typing", {}, token=OKSANA)).status == 200


async def test_other_token_of_citizen_counts_the_same(limited: Open) -> None:
    city = await limited(messages="1/hour")
    assert (await say(city)).status == 201
    assert is_refused(await say(city, token=citizen_token("u_1", "Хтось інший")))
    assert is_refused(await say(city, token=OKSANA, headers=by(OTHER_HOME)))


async def test_refused_request_body_is_not_read(limited: Open) -> None:
    city = await limited(messages="1/hour")
    assert (await say(city)).status == 201
    endless = city.session.post(
        f"http://{HOST}:{city.city.settings.api.port}{MESSAGES}",
        data=_never_ending(),
        headers={"Authorization": f"Bearer {OKSANA}", "Content-Type": "application/json"},
    )
    async with asyncio.timeout(WAIT_S), endless as answer:
        assert answer.status == 429


async def _never_ending() -> AsyncIterator[bytes]:
    yield b'{"body": "'
    await asyncio.sleep(3600)


async def test_rooms_changes_uploads_typing_count_separately(limited: Open) -> None:
    city = await limited(rooms="1/hour", typing="1/hour", changes="1/hour", uploads="1/hour")
    message = (await say(city)).content["id"]

    async def typing() -> HttpResponse:
        return await city.call("PUT", "/city/rooms/general/typing", {}, token=OKSANA)

    async def change() -> HttpResponse:
        return await city.call("PATCH", f"{MESSAGES}/{message}", {"body": "edited"}, token=OKSANA)

    async def room() -> HttpResponse:
        return await city.call("POST", "/city/rooms", {"name": f"Room {time.monotonic_ns()}"}, token=OKSANA)

    for ask in (typing, change, room):
        first = await ask()
        assert first.status in {200, 201}, first
        assert is_refused(await ask())

    async def file() -> HttpResponse:
        return await city.call(
            "POST", "/city/media", body=b"text", token=OKSANA, headers={"Content-Type": "text/plain"}
        )

    assert (await file()).status == 503, "there is no homeserver to take it"
    assert is_refused(await file())
    for _ in range(3):
        admins = await city.call("POST", "/city/rooms", {"name": f"Room {time.monotonic_ns()}"}, token=ADMIN_TOKEN)
        assert admins.status == 201


async def test_heartbeats_of_agent_count_of_service_do_not(limited: Open) -> None:
    city = await limited(heartbeats="2/hour")
    scribe, heartbeat = await city.agent_token("scribe"), "/api/v1/agents/scribe/heartbeat"
    answers = [await city.call("POST", heartbeat, {}, token=scribe) for _ in range(3)]
    assert [each.status for each in answers] == [200, 200, 429]
    assert [(await city.call("POST", heartbeat, {}, token=SERVICE_TOKEN)).status for _ in range(3)] == [200] * 3


async def test_refusal_has_cors_headers(limited: Open) -> None:
    city = await limited(messages="1/hour")
    page = {"Origin": "https://city.example"}
    await say(city, headers=page)
    refused = await say(city, headers=page)
    assert is_refused(refused)
    assert refused.headers["Access-Control-Allow-Origin"] == "https://city.example"
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"].split(",") or (
        refused.headers["Access-Control-Expose-Headers"] == "*"
    )


# --- reading ------------------------------------------------------------------------------------------


async def test_anonymous_requests_count_by_address(limited: Open) -> None:
    city = await limited(reads="3/hour")

    async def read(address: str, path: str = "/city/rooms", token: str | None = None) -> int:
        return (await city.call("GET", path, token=token, headers=by(address))).status

    assert [await read(HOME), await read(HOME, "/nothing"), await read(HOME, "/city/rooms?token=x")] == [200, 404, 200]
    assert [await read(HOME), await read(HOME, "/nothing"), await read(f"127.0.0.1, {HOME}")] == [429] * 3
    assert (await city.call("OPTIONS", "/city/rooms", headers=by(HOME) | PREFLIGHT)).status == 200
    # Neighbours with one connection to the internet are one address, others are not; who signs in is counted as who they are.
    assert [await read("2001:db8::1"), await read("2001:db8::2"), await read("2001:db8::3:4")] == [200] * 3
    assert [await read("2001:db8::5"), await read("2001:db8:0:1::5")] == [429, 200]
    assert [await read(HOME, token=OKSANA) for _ in range(4)] == [200, 200, 200, 429]
    assert await read(HOME, token=IVAN) == 200
    # Requests from this machine have no limit by address.
    assert [(await city.call("GET", "/city/rooms")).status for _ in range(10)] == [200] * 10


PREFLIGHT = {"Origin": "https://city.example", "Access-Control-Request-Method": "GET"}


# --- tokens that are guessed --------------------------------------------------------------------------


async def guess(city: InProcessCity, token: str, address: str = HOME) -> int:
    return (await city.call("GET", "/city/rooms", token=token, headers=by(address))).status


async def test_guessed_tokens_block_the_address(limited: Open) -> None:
    city = await limited(wrong_tokens="4/hour")
    scribe = await city.agent_token("scribe")
    assert [await guess(city, "wrong"), await guess(city, "agt_01_x"), await guess(city, OKSANA[:-3])] == [401] * 3
    url = f"http://{HOST}:{city.city.settings.api.port}{PRESENCE_SOCKET}"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await city.session.ws_connect(f"{url}?token=guessed", headers=by(HOME))
    assert await guess(city, "the fifth") == 429
    assert [await guess(city, OKSANA), await guess(city, scribe), await guess(city, ADMIN_TOKEN)] == [429] * 3
    assert (await city.call("GET", "/city/rooms", headers=by(HOME))).status == 200, "reading needs no token"
    assert [await guess(city, OKSANA, OTHER_HOME), await guess(city, "wrong", OTHER_HOME)] == [200, 401]


async def test_guessed_tokens_on_websocket_are_limited(limited: Open) -> None:
    city = await limited(wrong_tokens="2/hour")
    async with socket(city, PRESENCE_SOCKET, address=HOME) as opened:
        for token in ("first", "second", "third", OKSANA):
            await opened.send_json({"event": "auth", "token": token})
        codes = [(await next_of(opened, "error"))["code"] for _ in range(4)]
        assert codes == ["token_invalid", "token_invalid", "too_many_requests", "too_many_requests"]
        await opened.send_json({"event": "presence.heartbeat"})
        assert (await next_of(opened, "error"))["code"] == "sign_in"


async def test_repeated_or_expired_token_is_no_guess(limited: Open) -> None:
    city = await limited(wrong_tokens="2/hour")
    for number in range(4):
        assert [await guess(city, "revoked"), await guess(city, citizen_token(f"u_{number}", exp=1))] == [401] * 2
    assert [await guess(city, "wrong"), await guess(city, "also wrong"), await guess(city, "revoked")] == [
        401,
        429,
        429,
    ]


async def test_wrong_tokens_count_as_reads(limited: Open) -> None:
    city = await limited(reads="3/hour")
    assert [await guess(city, "the same") for _ in range(5)] == [401, 401, 401, 429, 429]
