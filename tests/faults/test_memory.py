"""What one peer can make the service keep in memory: measured on a process of its own, whose peers read nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from daarion_appservice.city.types import Author, AuthorKind, Message, MessageId, RoomEvent, RoomEventKind, RoomId
from daarion_appservice.clock import new_id
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.city import JWT_SECRET, eventually
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


def configured(directory: Path, database_url: str, command: list[str] | None = None) -> Service:
    """A service without a homeserver, to be started."""
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
        },
    )
    registration_file.generate(config_file.load(config), config)
    command = command or python("daarion_appservice", "run", "-c", str(config))
    return Service(port, matrix_port, Child("city", command, directory / "city.log"))


@pytest.fixture
async def service(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Service]:
    """A service without a homeserver, and a room of long messages: the last has 999 reactions."""
    made = configured(tmp_path, sqlite_url)
    made.child.start()
    try:
        await eventually(lambda: answers(made), 60, lambda: "\n".join(made.child.last_lines(30)))
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
    """By how much it has grown at most, looked at until it grows no more."""
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


async def test_readyz_answers_while_silent_connections_take_all_descriptors(tmp_path: Path, sqlite_url: str) -> None:
    command = python("daarion_appservice", "run", "-c", str(tmp_path / "config.yaml"))
    few = ["bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *command]
    made = configured(tmp_path, sqlite_url, few)
    made.child.start()
    try:
        await eventually(lambda: answers(made), 60, lambda: "\n".join(made.child.last_lines(30)))
        with ExitStack() as peers:
            for _ in range(400):
                peers.enter_context(made.deaf(b"GET / HTT"))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
                async with session.get(f"http://{HOST}:{made.matrix_port}/readyz") as answer:
                    assert answer.status == 503  # it has no homeserver, and says so
                # Somebody who asks goes before those who are silent.
                async with session.get(f"http://{HOST}:{made.port}/city/rooms") as answer:
                    assert answer.status == 200
        assert "connections_scarce" in made.child.log.read_text()
    finally:
        made.child.kill()
