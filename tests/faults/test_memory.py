"""The memory that peers without reads cost the service, measured in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daarion_appservice.city.room_events import RoomEvent, RoomEventKind
from daarion_appservice.city.types import Author, AuthorKind, Message, MessageId, RoomId
from daarion_appservice.clock import new_id
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.city import JWT_SECRET, citizen_token, eventually
from tests.parts.ports import HOST, free_port

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана", None)
ROOM = RoomId("city_general")
LONG, REACTIONS, MESSAGES = 46_000, 999, 200
MAY_GROW_BYTES = 48 * 1024 * 1024


@dataclass
class Service:
    port: int
    matrix_port: int
    child: Child

    @property
    def rss(self) -> int:
        """Bytes."""
        assert self.child.running, self.child.last_lines(30)
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        kib = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        return int(kib) * 1024

    def deaf(self, request: bytes) -> socket.socket:
        """A connection that asks, and reads nothing."""
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect((HOST, self.port))
        opened.sendall(request)
        return opened

    async def get(self, path: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{self.port}{path}") as answer:
            assert answer.status == 200
            return await answer.read()


def configured(
    directory: Path,
    database_url: str,
    command: list[str] | None = None,
    values: Mapping[str, str | float] | None = None,
) -> Service:
    """A service without a homeserver, to be started; ``values`` are further settings."""
    config = directory / "config.yaml"
    config_edit.generate(config)
    port, matrix_port = free_port(), free_port()
    config_edit.set_values(
        config,
        {
            "homeserver.address": f"http://{HOST}:{free_port()}",
            "api.port": port,
            "matrix.port": matrix_port,
            "database.url": database_url,
            "api.jwt.secret": JWT_SECRET,
            **(values or {}),
        },
    )
    registration_file.generate(config_file.load(config), config)
    command = command or python("daarion_appservice", "run", "-c", str(config))
    # With an environment of its own, the harness starts it as a new process: a forked one has other memory.
    return Service(port, matrix_port, Child("city", command, directory / "city.log", dict(os.environ)))


@pytest.fixture
async def service(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Service]:
    """A service without a homeserver, and a room of long messages: the last has 999 reactions."""
    made = configured(tmp_path, sqlite_url)
    made.child.start()
    try:
        await eventually(lambda: answers(made), explain=lambda: "\n".join(made.child.last_lines(30)))
        await fill(sqlite_url)
        yield made
    finally:
        made.child.kill()


async def answers(service: Service) -> bool:
    try:
        return bool(await service.get("/city/rooms"))
    except aiohttp.ClientError:
        return False


async def fill(database_url: str) -> None:
    database = Database(database_url)
    try:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            for _ in range(MESSAGES):
                await tx.messages.add(a_message(await tx.rooms.next_seq(ROOM, now_ms=1)))
            message = a_message(await tx.rooms.next_seq(ROOM, now_ms=1))
            await tx.messages.add(message)
            for number in range(REACTIONS):
                seq = await tx.rooms.next_seq(ROOM, now_ms=1)
                event = RoomEvent(ROOM, seq, RoomEventKind.REACTION, 1, message, OKSANA, str(number % 7))
                await tx.room_events.add([event])
    finally:
        await database.close()


def a_message(seq: int) -> Message:
    text = "x" * LONG
    return Message(MessageId(new_id()), ROOM, seq, OKSANA, text, created_at_ms=1)


async def most_grown(service: Service, before: int) -> int:
    """Return the maximum growth, measured until it stops."""
    most, still = 0, 0
    while still < 20:
        grown = service.rss - before
        still = 0 if grown > most + 256 * 1024 else still + 1
        most = max(most, grown)
        await asyncio.sleep(0.05)
    return most


WEB_SOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    ("path", "headers", "count"),
    [
        pytest.param(f"/ws/city/rooms/general?since={MESSAGES}", WEB_SOCKET, 20, id="replay of one message"),
        pytest.param(
            "/ws/city/rooms/general?since=0", WEB_SOCKET, 20, id="replay of many messages", marks=pytest.mark.soak
        ),
        pytest.param("/city/rooms/general/messages?limit=200", b"", 60, id="messages"),
        pytest.param("/city/rooms/general", b"", 60, id="a room"),
        pytest.param("/openapi.json", b"", 200, id="a document", marks=pytest.mark.soak),
        pytest.param("/", b"", 200, id="a page", marks=pytest.mark.soak),
    ],
)
async def test_peers_that_read_nothing_cost_little(service: Service, path: str, headers: bytes, count: int) -> None:
    await service.get("/openapi.json")
    await service.get("/city/rooms/general/messages?limit=200")
    before = service.rss
    request = b"GET %b HTTP/1.1\r\nHost: localhost:%d\r\n%b\r\n" % (path.encode(), service.port, headers)
    with ExitStack() as peers:
        for _ in range(count):
            peers.enter_context(service.deaf(request))
        assert await most_grown(service, before) < MAY_GROW_BYTES
        await service.get("/city/rooms")


async def test_silent_connections_leave_readyz_responding(tmp_path: Path, sqlite_url: str) -> None:
    command = python("daarion_appservice", "run", "-c", str(tmp_path / "config.yaml"))
    few = ["bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *command]
    made = configured(tmp_path, sqlite_url, few)
    made.child.start()
    try:
        await eventually(lambda: answers(made), explain=lambda: "\n".join(made.child.last_lines(30)))
        with ExitStack() as peers:
            for _ in range(400):
                peers.enter_context(made.deaf(b"GET / HTT"))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
                async with session.get(f"http://{HOST}:{made.matrix_port}/readyz") as answer:
                    assert answer.status == 503  # it has no homeserver, and says so
                # A new request displaces silent connections.
                async with session.get(f"http://{HOST}:{made.port}/city/rooms") as answer:
                    assert answer.status == 200
        assert "connections_scarce" in made.child.log.read_text()
    finally:
        made.child.kill()


MIB = 1024 * 1024
BUDGET_BYTES = 16 * MIB
BODY_BYTES = 900 * 1024
BODIES = 60
CHUNKS = b"10\r\n" + b" " * 16 + b"\r\n"
"""Of a chunked body: aiohttp keeps each chunk as an object of its own until it is read."""
HS_TOKEN = "a token of the homeserver"
MESSAGES_PATH = "/city/rooms/general/messages"


@dataclass(frozen=True)
class HalfSent:
    """Request bodies, of each of which the last byte is missing. ``name`` is that of the listener in metrics."""

    service: Service
    name: str
    is_chunked: bool

    @property
    def is_api(self) -> bool:
        return self.name == "api"

    @property
    def port(self) -> int:
        return self.service.port if self.is_api else self.service.matrix_port

    def request(self, number: int) -> bytes:
        """The head, and all of the body but for its end; on the city listener from one of 20 addresses."""
        line = f"POST {MESSAGES_PATH}" if self.is_api else f"PUT /_matrix/app/v1/transactions/{number}"
        fields = ["Host: localhost", "Content-Type: application/json", f"Authorization: Bearer {self.token}"]
        fields.append("Transfer-Encoding: chunked" if self.is_chunked else f"Content-Length: {BODY_BYTES}")
        if self.is_api:
            fields.append(f"X-Forwarded-For: 203.0.113.{number % 20}")
        body = CHUNKS * (BODY_BYTES // len(CHUNKS)) if self.is_chunked else b" " * (BODY_BYTES - 1)
        return "\r\n".join((f"{line} HTTP/1.1", *fields, "", "")).encode() + body

    @property
    def token(self) -> str:
        return citizen_token("u_1", "Оксана") if self.is_api else HS_TOKEN

    async def metric(self, name: str, **labels: str) -> float:
        url = f"http://{HOST}:{self.service.matrix_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    async def held(self) -> float:
        """Bytes."""
        return await self.metric("daarion_http_held_request_bytes", listener=self.name)

    async def refused(self) -> float:
        """How many requests both budgets of bytes refused."""
        limits = ("request_bytes", "request_bytes_per_address")
        return sum([await self.metric("daarion_limit_hits_total", limit=each) for each in limits])

    async def served(self) -> int:
        """The status of a whole request: of another address, or of the homeserver."""
        headers = {"Authorization": f"Bearer {self.token}", "X-Forwarded-For": "198.51.100.4"}
        path = MESSAGES_PATH if self.is_api else "/_matrix/app/v1/transactions/whole"
        body: dict[str, object] = {"body": "hello"} if self.is_api else {"events": []}
        method, url = "POST" if self.is_api else "PUT", f"http://{HOST}:{self.port}{path}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, json=body) as answer,
        ):
            return answer.status

    async def send(self) -> list[asyncio.StreamWriter]:
        """Open all, and wait until the listener holds about the budget and has refused what is beyond it."""
        before = await self.refused()
        peers = []
        for number in range(BODIES):
            _, writer = await asyncio.open_connection(HOST, self.port)
            peers.append(writer)
            writer.write(self.request(number))
            with suppress(ConnectionError):
                await writer.drain()
        beyond = BODIES - BUDGET_BYTES // BODY_BYTES

        async def is_full() -> bool:
            refused = await self.refused() - before
            return refused >= beyond and await self.held() >= BUDGET_BYTES - 2 * BODY_BYTES

        await eventually(is_full)
        return peers


@pytest.mark.parametrize(
    "is_chunked", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["content length", "chunked"]
)
@pytest.mark.parametrize("listener", ["api", "matrix"])
async def test_half_sent_bodies_cost_their_budget(
    tmp_path: Path, sqlite_url: str, listener: str, is_chunked: bool
) -> None:
    values: dict[str, str | float] = {
        "limits.request_bytes": BUDGET_BYTES,
        "limits.request_bytes_per_address": BUDGET_BYTES // 4,
        "appservice.hs_token": HS_TOKEN,
    }
    service = configured(tmp_path, sqlite_url, values=values)
    half_sent = HalfSent(service, listener, is_chunked)
    service.child.start()
    try:
        await eventually(lambda: answers(service), explain=lambda: "\n".join(service.child.last_lines(30)))
        assert await half_sent.served() in {200, 201}
        before = service.rss
        for number in range(2):
            peers = await half_sent.send()
            grown = await most_grown(service, before)
            assert grown < BUDGET_BYTES + 30 * MIB, f"in round {number}"
            assert await half_sent.held() <= BUDGET_BYTES
            assert await half_sent.served() in {200, 201}
            for each in peers:
                each.transport.abort()
            await eventually(lambda: little_is_held(half_sent))
    finally:
        service.child.kill()


async def little_is_held(half_sent: HalfSent) -> bool:
    # The request for the metrics is held on the matrix listener itself.
    return await half_sent.held() < 4096
