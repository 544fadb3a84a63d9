"""Rate limits by HTTP and WebSocket, guessed tokens, open and flooded connections, in one process and in several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from daarion_appservice.config import LimitsSettings
from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits import redis_window
from daarion_appservice.http.limits.rates import Rate, RateLimiter
from daarion_appservice.realtime.redis_client import connect
from tests.parts.city import ADMIN_TOKEN, citizen_token, eventually
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse, InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.redis import RedisServer
from tests.parts.waiting import WAIT_S

OKSANA, IVAN = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Іван")
MESSAGES = "/city/rooms/general/messages"
ROOM_SOCKET, PRESENCE_SOCKET = "/ws/city/rooms/general", "/ws/city/presence"
STREAM = "/api/v1/presence/stream"
HOME, OTHER_HOME = "203.0.113.7", "198.51.100.4"

Open = Callable[..., Awaitable[InProcessCity]]


@pytest.fixture
async def limited(sqlite_url: str) -> AsyncIterator[Open]:
    """Opens a city with these limits: ``await limited(messages="2/hour")``."""
    async with AsyncExitStack() as cities:

        async def open_one(**limits: Any) -> InProcessCity:
            return await cities.enter_async_context(in_process_city(sqlite_url, limits=limits))

        yield open_one


def by(address: str) -> dict[str, str]:
    """Headers of a request that a proxy on this machine passes on from there."""
    return {"X-Forwarded-For": address}


def is_refused(answer: HttpResponse) -> bool:
    if answer.status != 429:
        return False
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.content["code"] == "too_many_requests"
    assert int(answer.headers["Retry-After"]) >= 1
    return True


async def say(city: InProcessCity, body: str = "hi", *, token: str = OKSANA, **more: Any) -> HttpResponse:
    return await city.call("POST", MESSAGES, {"body": body}, token=token, **more)


@asynccontextmanager
async def socket(city: InProcessCity, path: str, token: str = "", address: str = HOST) -> AsyncIterator[Any]:
    url = f"http://{HOST}:{city.city.settings.api.port}{path}" + (f"?token={token}" if token else "")
    async with city.session.ws_connect(url, headers=by(address)) as opened:
        yield opened


async def next_of(opened: aiohttp.ClientWebSocketResponse, *events: str) -> dict[str, Any]:
    """The next of these events."""
    while True:
        event: dict[str, Any] = await opened.receive_json(timeout=WAIT_S)
        if event["event"] in events:
            return event


# --- rates of citizens and agents ---------------------------------------------------------------------


async def test_http_and_websocket_messages_share_limit(limited: Open) -> None:
    city = await limited(messages="3/hour")
    assert (await say(city)).status == 201
    async with socket(city, ROOM_SOCKET, OKSANA) as room:
        for body in ("two", "three", "four"):
            await room.send_json({"event": "city.room.send", "body": body, "client_id": body})
        assert [(await next_of(room, "city.room.message"))["message"]["body"] for _ in range(2)] == ["two", "three"]
        refusal = await next_of(room, "error")
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
        while (message := await opened.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
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
        while (await opened.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.TEXT:
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


# --- several processes --------------------------------------------------------------------------------


@asynccontextmanager
async def process(redis: RedisServer, **limits: str) -> AsyncIterator[RateLimiter]:
    """What one process of a city counts."""
    client = connect(redis.url, cluster=redis.cluster)
    try:
        yield RateLimiter(LimitsSettings.model_validate(limits), client)
    finally:
        await client.aclose()


async def taken(rates: RateLimiter, count: int, rate: Rate = Rate.MESSAGES, who: str = "citizen:u_1") -> int:
    """How many of so many are taken."""
    refusals = []
    for _ in range(count):
        try:
            await rates.count(rate, who)
        except TooManyRequests as refusal:
            refusals.append(refusal)
    assert all(3_500 < each.retry_after_s <= 3_600 for each in refusals)
    return count - len(refusals)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may take its time where all processors are busy."""
    monkeypatch.setattr(redis_window, "_TIMEOUT_S", 30.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("server", ["redis", "redis_cluster"])
async def test_processes_share_limits(server: str, request: pytest.FixtureRequest) -> None:
    redis: RedisServer = request.getfixturevalue(server)
    limits = {"messages": "5/hour", "wrong_tokens": "2/hour", "typing": "2/hour"}
    async with process(redis, **limits) as one, process(redis, **limits) as other:
        assert [await taken(one, 3), await taken(other, 3), await taken(one, 1)] == [3, 2, 0]
        assert await taken(other, 3, who="citizen:u_2") == 3
        assert [await taken(each, 2, Rate.WRONG_TOKENS) for each in (one, other)] == [2, 0]
        with pytest.raises(TooManyRequests):
            other.check(Rate.WRONG_TOKENS, "citizen:u_1")
        # What is counted so often that asking Redis would cost too much, each counts for itself.
        assert [await taken(each, 3, Rate.TYPING) for each in (one, other)] == [2, 2]


@pytest.mark.usefixtures("patient")
async def test_redis_unavailable_counts_in_each_process(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_window, "_RETRY_S", 0.2)
    async with process(redis, messages="5/hour") as one, process(redis, messages="5/hour") as other:
        assert await taken(one, 2) == 2
        redis.kill()
        with capture_logs() as logs:
            assert [await taken(one, 8), await taken(other, 8)] == [5, 5]
            assert [each["event"] for each in logs] == ["limits_not_shared"] * 2, "one line from each"
            redis.start()

            async def is_shared() -> bool:
                await taken(one, 1, who="citizen:u_2")
                return [each["event"] for each in logs[2:]] == ["limits_shared"]

            await eventually(is_shared)
        assert await taken(one, 6, who="citizen:u_3") == 5


async def test_redis_frozen_delays_few_requests(redis: RedisServer) -> None:
    async with process(redis, messages="50/hour") as rates:
        assert await taken(rates, 1) == 1
        redis.freeze()
        try:
            async with asyncio.timeout(WAIT_S):  # not half a second for each
                assert await taken(rates, 200) == 50
        finally:
            redis.thaw()


@pytest.mark.usefixtures("patient")
async def test_redis_keys_expire(redis: RedisServer) -> None:
    async with process(redis, messages="5/minute") as rates:
        await rates.count(Rate.MESSAGES, "citizen:u_1")
    client: Any = connect(redis.url, cluster=False)
    try:
        keys = await client.keys("*")
        assert keys == ["city:limits:messages/citizen:u_1/5/1/minute"]
        assert 0 < await client.ttl(keys[0]) <= 60
    finally:
        await client.aclose()
