"""Reading rooms: requests per second of this service and of the same routes on FastAPI and asyncpg, from the same rows.

Eight connections send requests, each as soon as it has a response; the servers take turns. They are measured once without
new messages, and once while another process writes messages, which invalidates cached responses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, text

from daarion_appservice.city.types import RoomId
from daarion_appservice.demo.child_processes import Child
from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres

from . import wire
from .contenders import City
from .figures import percentile
from .pace import pace
from .processes import CpuClock, listening, program

_CONNECTIONS: Final = 8
_ROWS_AT_ONCE: Final = 5000
_FIRST_MS: Final = 1_764_000_000_000


@dataclass(frozen=True)
class Plan:
    rooms: int = 50
    messages: int = 200
    """Messages in each room."""
    messages_per_s: tuple[int, ...] = (0, 10)
    """Messages per second that are written, to one room after the other."""
    window_s: float = 1.0
    rounds: int = 6


QUICK: Final = Plan(rooms=10, messages=60, window_s=0.4, rounds=2)

ROUTES: Final = ("rooms", "room", "older")


@dataclass(frozen=True)
class Readable:
    """A running server."""

    key: str
    child: Child
    port: int
    writer: _Writer
    """Writes messages to the server's database."""


@dataclass
class _Reader:
    """Reads one route of one server."""

    who: str
    route: str
    child: Child
    requests: Iterator[bytes]
    lines: list[wire.HttpConnection]
    writer: _Writer
    messages_per_s: int
    answers_ms: list[float] = field(default_factory=list)
    took_s: float = 0.0
    cpu_s: float = 0.0

    async def turn(self, duration_s: float) -> None:
        clock = CpuClock.of(self.child)
        began_s = time.monotonic()
        reading = (self._read(line, began_s + duration_s) for line in self.lines)
        await asyncio.gather(self.writer.write(self.messages_per_s, duration_s), *reading)
        self.took_s += time.monotonic() - began_s
        self.cpu_s += clock.used_s

    def begin(self) -> None:
        """Discard the measurements so far."""
        self.answers_ms.clear()
        self.took_s = self.cpu_s = 0.0

    def figures(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "messages_per_s": self.messages_per_s,
            "who": self.who,
            "per_s": len(self.answers_ms) / self.took_s,
            "p50_ms": percentile(self.answers_ms, 50),
            "p99_ms": percentile(self.answers_ms, 99),
            "cpu_share": self.cpu_s / self.took_s,
            "cpu_us_a_request": self.cpu_s / len(self.answers_ms) * 1e6,
            "answer_bytes": self.lines[0].last_size,
        }

    async def _read(self, line: wire.HttpConnection, until_s: float) -> None:
        while (began_s := time.monotonic()) < until_s:
            status = await line.ask(next(self.requests))
            if status != 200:
                raise RuntimeError(f"{self.who} answered {status}:\n" + "\n".join(self.child.last_lines(30)))
            self.answers_ms.append((time.monotonic() - began_s) * 1000)


@dataclass
class _Writer:
    """Writes messages to one room after the other, from another process than the measured ones."""

    database: Database
    plan: Plan
    _numbers: Iterator[int] = field(default_factory=count)

    async def write(self, messages_per_s: int, duration_s: float) -> None:
        if messages_per_s:
            async for _ in pace(messages_per_s, 1, duration_s):
                await self._say(next(self._numbers))

    async def _say(self, number: int) -> None:
        room = RoomId(f"city_{slug(number % self.plan.rooms)}")
        async with self.database.transaction() as tx:
            seq = await tx.rooms.next_seq(room, now_ms=_FIRST_MS + number)
            message = _message(self.plan.rooms * self.plan.messages + number, self.plan)
            await tx.connection.execute(insert(tables.messages).values(message | {"room_id": room, "seq": seq}))


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each route and server."""
    async with AsyncExitStack() as stack:
        contenders = await start(plan, directory, stack)
        rows = []
        for route in ROUTES:
            for messages_per_s in plan.messages_per_s:
                readers = [await _reader(route, contender, messages_per_s, plan, stack) for contender in contenders]
                rows += await _measure_in_turns(readers, plan)
        return rows


async def _measure_in_turns(readers: list[_Reader], plan: Plan) -> list[dict[str, Any]]:
    for reader in readers:
        await reader.turn(plan.window_s)
        reader.begin()
    for _ in range(plan.rounds):
        for reader in readers:
            await reader.turn(plan.window_s)
    return [reader.figures() for reader in readers]


async def start(plan: Plan, directory: Path, stack: AsyncExitStack) -> list[Readable]:
    """Start this service on PostgreSQL, the peer on the same database, and this service on SQLite, with the same rows."""
    postgres = Postgres.start(is_durable=True)
    stack.callback(postgres.stop)
    on_postgres = City(directory, agents=1, postgres_url=postgres.url(postgres.create_database()))
    on_sqlite = City(directory, agents=1)
    writers = []
    for city in (on_postgres, on_sqlite):
        await city.prepare()
        database = Database(city.database_url)
        stack.push_async_callback(database.close)
        await insert_rows(database, plan)
        writers.append(_Writer(database, plan))
        stack.callback(city.stop)
        await city.start()
    peer_port = free_port()
    arguments = (peer_port, on_postgres.database_url)
    peer = program("fastapi", "benchmarks.peers.fastapi_city", *arguments, log=directory / "fastapi.log")
    stack.callback(peer.kill)
    peer.start()
    await listening(peer, peer_port)
    return [
        Readable(on_postgres.key, on_postgres.child, on_postgres.port, writers[0]),
        Readable("fastapi", peer, peer_port, writers[0]),
        Readable(on_sqlite.key, on_sqlite.child, on_sqlite.port, writers[1]),
    ]


def paths(route: str, plan: Plan) -> list[str]:
    """Return the paths that the connections request in turn."""
    rooms = [f"/city/rooms/{slug(number)}" for number in range(plan.rooms)]
    match route:
        case "rooms":
            return ["/city/rooms"]
        case "room":
            return rooms
    return [f"{room}/messages?before={plan.messages - 9}&limit=50" for room in rooms]


async def _reader(route: str, contender: Readable, messages_per_s: int, plan: Plan, stack: AsyncExitStack) -> _Reader:
    lines = [await wire.HttpConnection.open(contender.port) for _ in range(_CONNECTIONS)]
    for line in lines:
        stack.callback(line.transport.abort)
    requests = cycle([wire.request("GET", path) for path in paths(route, plan)])
    return _Reader(contender.key, route, contender.child, requests, lines, contender.writer, messages_per_s)


async def insert_rows(database: Database, plan: Plan) -> None:
    """Insert the rooms and their messages."""
    async with database.transaction() as tx:
        await tx.connection.execute(insert(tables.rooms), [_room(number, plan) for number in range(plan.rooms)])
        total = plan.rooms * plan.messages
        for first in range(0, total, _ROWS_AT_ONCE):
            part = [_message(number, plan) for number in range(first, min(first + _ROWS_AT_ONCE, total))]
            await tx.connection.execute(insert(tables.messages), part)
        # The service would index these messages for the search meanwhile, 200 at a time.
        await tx.key_values.put_search_position(None)
        await tx.connection.execute(text("ANALYZE"))


def slug(room: int) -> str:
    return f"r{room}"


def _room(number: int, plan: Plan) -> dict[str, Any]:
    return {
        "id": f"city_{slug(number)}",
        "slug": slug(number),
        "name": f"Кімната {number}",
        "description": "Про все, що діється в місті",
        "created_at_ms": _FIRST_MS,
        "last_seq": plan.messages,
        "message_count": plan.messages,
        "last_event_ms": _FIRST_MS + number,
        "matrix_room_id": f"!{number:043}",
        "matrix_status": "linked",
    }


def _message(number: int, plan: Plan) -> dict[str, Any]:
    room, seq = divmod(number, plan.messages)
    return {
        "id": f"{number:026}",
        "room_id": f"city_{slug(room)}",
        "seq": seq + 1,
        "author_kind": "citizen",
        "author_id": f"u_{number % 97}",
        "author_name": "Оксана",
        "body": f"Добрий вечір, ми з України: {number}",
        "msgtype": "m.text",
        "created_at_ms": _FIRST_MS + number,
        "matrix_event_id": f"${number:043}",
        "delivery": "sent",
    }
