"""Budgets for the bytes of incomplete requests, by address and in total, on both listeners."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from daarion_appservice.matrix.inbound import transactions
from tests.parts.city import citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.media_harness import PNG, media_harness
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

KIB = 1024
PER_ADDRESS, IN_ALL = 400 * KIB, 1000 * KIB
LIMITS = {"request_bytes_per_address": PER_ADDRESS, "request_bytes": IN_ALL}
BEHIND_A_PROXY = {"trusted_proxies": ["127.0.0.0/8"]}
MESSAGES = "/city/rooms/general/messages"
TRANSACTION = "/_matrix/app/v1/transactions/1"
HOSTILE, HONEST = "203.0.113.7", "198.51.100.4"
TOKEN = citizen_token("u_1", "Оксана")


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url, limits=LIMITS, api=BEHIND_A_PROXY) as city:
        yield city


_opened: list[Peer] = []


@pytest.fixture(autouse=True)
async def all_are_closed() -> AsyncIterator[None]:
    """Close what ``connect`` opened, also after a failure."""
    yield
    close_all(_opened)
    for each in _opened:
        with suppress(OSError):
            await each.writer.wait_closed()
    _opened.clear()


@dataclass
class HttpResponse:
    status: int
    headers: dict[str, str]
    content: Any


@dataclass
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> HttpResponse:
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return HttpResponse(int(first.split()[1]), headers, orjson.loads(body) if body else None)

    @property
    def has_answer(self) -> bool:
        return bool(self.reader._buffer) or self.reader.at_eof()  # type: ignore[attr-defined]

    def close(self) -> None:
        self.writer.transport.abort()


def head_of(method: str, path: str, length: int | None, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}"]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode()


async def connect(city: InProcessCity, sends: bytes, *, listener: str = "api") -> Peer:
    port = city.city.settings.api.port if listener == "api" else city.city.settings.matrix.port
    peer = Peer(*await asyncio.open_connection(HOST, port))
    _opened.append(peer)
    peer.writer.write(sends)
    return peer


async def half_sent(city: InProcessCity, size: int, address: str | None = None, *, length: int = 900 * KIB) -> Peer:
    """A message of ``length`` bytes, of which ``size`` come."""
    named = {} if address is None else {"X_Forwarded_For": address}
    return await connect(city, head_of("POST", MESSAGES, length, **named) + b" " * size)


async def metric(city: InProcessCity, name: str, **labels: str) -> float:
    text = (await city.call("GET", "/metrics", listener="matrix")).content
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples if each.name == name]
    return sum(each.value for each in samples if labels.items() <= each.labels.items())


async def held(city: InProcessCity, listener: str = "api") -> float:
    return await metric(city, "daarion_http_held_request_bytes", listener=listener)


async def holds(city: InProcessCity, least: int, most: int) -> None:
    """Wait until the city listener holds so many bytes."""

    async def is_so() -> bool:
        return least <= await held(city) <= most

    await eventually(is_so)


async def refused(peers: Sequence[Peer], count: int) -> list[Peer]:
    """Those that were answered, once there are ``count``."""

    async def answered() -> list[Peer]:
        found = [each for each in peers if each.has_answer]
        return found if len(found) >= count else []

    return await eventually(answered)


def close_all(peers: Sequence[Peer]) -> None:
    for each in peers:
        each.close()


async def say(city: InProcessCity, body: str, address: str | None) -> int:
    headers = {} if address is None else {"X-Forwarded-For": address}
    answer = await city.call("POST", MESSAGES, {"body": body}, token=TOKEN, headers=headers)
    return answer.status


async def test_bodies_over_address_budget_get_429(city: InProcessCity) -> None:
    before = await metric(city, "daarion_limit_hits_total", limit="request_bytes_per_address")
    peers = [await half_sent(city, 150 * KIB, HOSTILE) for _ in range(6)]
    answered = await refused(peers, 4)
    assert len(answered) == 4
    for each in answered:
        answer = await each.answer()
        assert (answer.status, answer.content["code"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "5"
    await holds(city, 2 * 150 * KIB, PER_ADDRESS)
    assert await say(city, "from another address", HONEST) == 201
    assert await say(city, "from the same address", HOSTILE) == 201
    assert {each["body"] for each in await city.get(MESSAGES)} == {"from another address", "from the same address"}
    after = await metric(city, "daarion_limit_hits_total", limit="request_bytes_per_address")
    assert after - before == 4
    close_all(peers)
    await holds(city, 0, 0)


async def test_loopback_bodies_share_total_budget(city: InProcessCity) -> None:
    with capture_logs() as logs:
        peers = [await half_sent(city, 300 * KIB) for _ in range(5)]
        answered = await refused(peers, 2)
    assert len(answered) == 2
    answer = await answered[0].answer()
    assert (answer.status, answer.content["code"]) == (503, "too_many_request_bytes")
    assert answer.headers["retry-after"] == "5"
    await holds(city, 3 * 300 * KIB, IN_ALL)
    assert await say(city, "from another address", HONEST) == 201
    assert await say(city, "from this machine", None) == 201
    assert "request_bytes" in {each["event"] for each in logs}
    close_all(peers)
    await holds(city, 0, 0)


async def test_total_budget_refuses_largest_holder(city: InProcessCity) -> None:
    honest = await half_sent(city, 200 * KIB, HONEST)
    await holds(city, 200 * KIB, 210 * KIB)
    peers = [await half_sent(city, 130 * KIB, f"203.0.113.{number % 3}") for number in range(9)]
    await refused(peers, 3)
    assert not honest.has_answer
    honest.writer.write(b" " * (700 * KIB))
    assert (await honest.answer()).status in {400, 422, 429}, "too large for its own address, but never 503"
    close_all([honest, *peers])
    await holds(city, 0, 0)


async def test_incomplete_heads_count(city: InProcessCity) -> None:
    fields = "".join(f"X-{number}: {'x' * 8000}\r\n" for number in range(40))
    peers = [await connect(city, f"GET / HTTP/1.1\r\n{fields}".encode()) for _ in range(6)]
    answered = await refused(peers, 3)
    answer = await answered[0].answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert await held(city) <= IN_ALL
    close_all(peers)
    await holds(city, 0, 0)


async def test_head_over_64_kib_gets_431(city: InProcessCity) -> None:
    long = {f"X_{number}": "x" * 8000 for number in range(9)}
    for listener in ("api", "matrix"):
        peer = await connect(city, head_of("GET", "/healthz", None, **long), listener=listener)
        assert (await peer.answer()).status == 431
        peer.close()


@pytest.mark.parametrize("is_fragmented", [False, True])
async def test_incomplete_websocket_messages_count(city: InProcessCity, is_fragmented: bool) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "X_Forwarded_For": HOSTILE,
    }
    peers = [await connect(city, head_of("GET", "/ws/city/rooms/general", None, **upgrade)) for _ in range(6)]
    for each in peers:
        assert (await each.answer()).status == 101
    size = 100 * KIB
    for each in peers:
        first, length = (0x01, size) if is_fragmented else (0x81, 2 * size)
        each.writer.write(struct.pack(">BBQ", first, 0x80 | 127, length) + os.urandom(4) + b" " * size)
    answered = await refused(peers, 3)
    assert b'"code":"too_many_requests"' in await answered[0].reader.read(4096)
    assert await held(city) <= PER_ADDRESS
    assert await say(city, "from another address", HONEST) == 201
    close_all(peers)
    await holds(city, 0, 0)


async def test_long_lived_websocket_holds_only_its_head(city: InProcessCity) -> None:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general"
    async with city.session.ws_connect(url, headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        for number in range(10):
            await socket.send_json({"event": "city.room.send", "body": f"{number} {'ї' * 5000}"})
            while (await next_frame(socket))["event"] != "city.room.message":
                pass
        await holds(city, 1, 2 * KIB)
    await holds(city, 0, 0)


async def test_pipelined_bodies_count(city: InProcessCity) -> None:
    first = head_of("GET", "/city/rooms", None, X_Forwarded_For=HOSTILE)
    second = head_of("POST", MESSAGES, 900 * KIB, X_Forwarded_For=HOSTILE) + b" " * (150 * KIB)
    peers = [await connect(city, first + second) for _ in range(6)]
    answers: list[int] = []

    async def are_refused() -> bool:
        for each in peers:
            if each.has_answer:
                with suppress(asyncio.IncompleteReadError):
                    answers.append((await each.answer()).status)
        return answers.count(429) == 4

    await eventually(are_refused)
    await holds(city, 2 * 150 * KIB, PER_ADDRESS)
    close_all(peers)
    await holds(city, 0, 0)


async def test_refused_complete_request_keeps_connection(city: InProcessCity) -> None:
    kept = await half_sent(city, 200 * KIB, HOSTILE)
    await holds(city, 200 * KIB, 210 * KIB)
    # A request that is refused before its handler has begun is answered, too, but its connection is closed.
    peer = await half_sent(city, 10 * KIB, HOSTILE)
    await holds(city, 210 * KIB, 220 * KIB)
    peer.writer.write(b" " * (290 * KIB))
    assert (await peer.answer()).status == 429
    peer.writer.write(b" " * (600 * KIB) + head_of("GET", "/city/rooms", None, X_Forwarded_For=HOSTILE))
    assert (await peer.answer()).status == 200
    assert not kept.has_answer
    close_all([kept, peer])
    await holds(city, 0, 0)


async def test_unread_body_is_not_counted(city: InProcessCity) -> None:
    nobody = f"POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {900 * KIB}\r\n\r\n".encode()
    peer = await connect(city, nobody)
    assert (await peer.answer()).status == 401
    peer.writer.write(b" " * (800 * KIB))
    with suppress(ConnectionError):
        await peer.writer.drain()
    await holds(city, 0, 0)
    peer.close()


async def test_transactions_share_total_budget(city: InProcessCity) -> None:
    head = (
        f"PUT {TRANSACTION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a token of theirs\r\n"
        f"Content-Type: application/json\r\nContent-Length: {900 * KIB}\r\n\r\n"
    ).encode()
    peers = [await connect(city, head + b" " * (300 * KIB), listener="matrix") for _ in range(5)]
    answer = await (await refused(peers, 2))[0].answer()
    assert (answer.status, answer.content["errcode"], answer.headers["retry-after"]) == (503, "M_UNKNOWN", "5")
    assert await held(city, "matrix") <= IN_ALL
    accepted = await city.call("PUT", TRANSACTION, {"events": []}, token="a token of theirs", listener="matrix")
    assert accepted.status == 200
    close_all(peers)


async def test_incomplete_transaction_gets_408(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "_BODY_TIMEOUT_S", 0.2)
    head = f"PUT {TRANSACTION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a token of theirs\r\n"
    peer = await connect(city, f"{head}Content-Length: 20\r\n\r\n{{".encode(), listener="matrix")
    assert (await peer.answer()).status == 408
    peer.close()


async def test_upload_over_budget_is_forwarded(sqlite_url: str) -> None:
    # Between the two, aiohttp holds up to 768 KiB before it reads no more.
    async with media_harness(sqlite_url, limits={"request_bytes": 1024 * KIB}) as harness:
        harness.repository.max_upload_bytes = None
        content = PNG + bytes(6000 * KIB)

        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, len(content), 32 * KIB):
                yield content[begin : begin + 32 * KIB]
                await asyncio.sleep(0)

        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/png", "Content-Length": str(len(content))}
        async with harness.city.session.post(f"{harness.url}/city/media", data=pieces(), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        await holds(harness.city, 0, 0)
