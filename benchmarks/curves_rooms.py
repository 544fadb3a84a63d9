"""Cost curves over rooms and over messages: reads, reads after a write, writes, and a second without requests."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from daarion_appservice.storage.database import Database
from tests.parts.postgres import Postgres

from . import rooms_reads, wire
from .contenders import City
from .curve_meter import Curve, is_quiet, measure_in_turns, pause

_CITIZEN: Final = "u_1"
_SEEN_ROOMS: Final = 10
"""Rooms that are read in turn, and in the list: all sizes have as many in their caches."""
_PAGE: Final = "/city/rooms?limit=10"


@dataclass(frozen=True)
class Plan:
    sizes: tuple[tuple[int, int], ...]
    """Rooms, and messages in each room."""
    counts_messages: bool = False
    """Whether the size of a row is the number of messages, instead of that of rooms."""
    reads: int = 200
    writes: int = 30
    rounds: int = 3


ROOMS: Final = Plan(((10, 20), (1_000, 20), (10_000, 20)))
MESSAGES: Final = Plan(((50, 200), (50, 20_000)), counts_messages=True)
QUICK_ROOMS: Final = Plan(((10, 20), (100, 20)), reads=20, writes=10, rounds=1)
QUICK_MESSAGES: Final = Plan(((10, 100), (10, 1_000)), counts_messages=True, reads=20, writes=10, rounds=1)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each operation, database and size."""
    async with AsyncExitStack() as stack:
        postgres = Postgres.start(is_durable=True)
        stack.callback(postgres.stop)
        curves: list[Curve] = []
        for rooms, messages in plan.sizes:
            home = directory / f"{rooms}-{messages}"
            home.mkdir(parents=True)
            size = rooms * messages if plan.counts_messages else rooms
            for url in ("", postgres.url(postgres.create_database())):
                city = City(home, agents=1, postgres_url=url)
                await _start(city, rooms_reads.Plan(rooms=rooms, messages=messages), stack)
                line = wire.Line(city.port)
                stack.callback(line.close)
                curves += _Reader(city, line, rooms, messages).curves(size, plan)
        return await measure_in_turns(curves, plan.rounds)


async def _start(city: City, plan: rooms_reads.Plan, stack: AsyncExitStack) -> None:
    await city.prepare()
    database = Database(city.database_url)
    try:
        await rooms_reads.insert_rows(database, plan)
    finally:
        await database.close()
    stack.callback(city.stop)
    await city.start()
    await is_quiet(city.child)


@dataclass(frozen=True)
class _Reader:
    """A citizen who reads and writes in one city."""

    city: City
    line: wire.Line
    rooms: int
    messages: int

    def curves(self, size: int, plan: Plan) -> list[Curve]:
        operations = (
            ("list of 10 rooms", self._list, plan.reads),
            ("list of 10 rooms after a message", self._list_after_message, plan.writes),
            ("a citizen's list after a message", self._own_list_after_message, plan.writes),
            ("room with its last messages", self._room, plan.reads),
            ("room after a message in it", self._room_after_message, plan.writes),
            ("older messages", self._older, plan.reads),
            ("message of a citizen", self._write, plan.writes),
            ("second without requests", pause, 1),
        )
        return [Curve(size, what, self.city.key, self.city.child, once, each) for what, once, each in operations]

    async def _list(self, _number: int) -> float:
        return await self._get(_PAGE)

    async def _room(self, number: int) -> float:
        return await self._get(self._room_path(number))

    async def _older(self, number: int) -> float:
        before = self.messages // 2 + number % 7
        return await self._get(f"{self._room_path(number)}/messages?before={before}&limit=50")

    async def _write(self, number: int) -> float:
        body = orjson.dumps({"body": f"Добрий вечір: {number}"})
        path = f"{self._room_path(number)}/messages"
        return await self._ask(wire.request("POST", path, body, self.city.token_of(_CITIZEN)), 201)

    async def _list_after_message(self, number: int) -> float:
        await self._write(number)
        return await self._get(_PAGE)

    async def _own_list_after_message(self, number: int) -> float:
        await self._write(number)
        return await self._ask(wire.request("GET", _PAGE, token=self.city.token_of(_CITIZEN)), 200)

    async def _room_after_message(self, number: int) -> float:
        await self._write(number)
        return await self._get(self._room_path(number))

    def _room_path(self, number: int) -> str:
        return f"/city/rooms/{rooms_reads.slug(number % min(self.rooms, _SEEN_ROOMS))}"

    async def _get(self, path: str) -> float:
        return await self._ask(wire.request("GET", path), 200)

    async def _ask(self, request: bytes, wanted: int) -> float:
        status = await self.line.ask(request)
        if status != wanted:
            last = "\n".join(self.city.child.last_lines(30))
            raise RuntimeError(f"{request[:200]!r} was answered with {status}:\n{last}")
        return 1.0
