"""Transactions of a homeserver: time until the response. This service stores them on disk first, mautrix in memory.

Transactions are sent over one connection, one at a time, as Synapse does; the servers take turns of a fraction of a second. There
is no homeserver, so this service processes no events meanwhile; mautrix has only its own event handler.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson

from daarion_appservice.demo.child_processes import Child
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.synapse import SERVER_NAME

from . import wire
from .contenders import City
from .figures import percentile
from .processes import CpuClock, listening, program

_HS_TOKEN: Final = "what the benchmark's homeserver proves itself with"
_ROOMS: Final = 20
_WARM_UP: Final = 20


@dataclass(frozen=True)
class Plan:
    sizes: tuple[tuple[int, int], ...] = ((1, 150), (100, 20))
    """Events in a transaction, and transactions in a turn."""
    rounds: int = 15


QUICK: Final = Plan(sizes=((1, 50), (100, 10)), rounds=4)


@dataclass
class _Homeserver:
    """Sends transactions to one server, and records the time of each response."""

    key: str
    child: Child
    line: wire.HttpConnection
    token: str
    answers_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    _numbers: Iterator[int] = field(default_factory=count)

    async def send(self, events: int, transactions: int) -> None:
        requests = [self._request(events) for _ in range(transactions)]
        clock = CpuClock.of(self.child)
        for request in requests:
            began_s = time.perf_counter()
            status = await self.line.ask(request)
            self.answers_ms.append((time.perf_counter() - began_s) * 1000)
            if status != 200:
                raise RuntimeError(f"{self.key} answered {status}:\n" + "\n".join(self.child.last_lines(30)))
        self.cpu_s += clock.used_s

    def begin(self) -> None:
        """Discard the measurements so far."""
        self.answers_ms.clear()
        self.cpu_s = 0.0

    def figures(self, events: int) -> dict[str, Any]:
        took_s = sum(self.answers_ms) / 1000
        return {
            "events": events,
            "who": self.key,
            "p50_ms": percentile(self.answers_ms, 50),
            "p99_ms": percentile(self.answers_ms, 99),
            "events_per_s": len(self.answers_ms) * events / took_s,
            "cpu_us_an_event": self.cpu_s / len(self.answers_ms) / events * 1e6,
        }

    def _request(self, events: int) -> bytes:
        number = next(self._numbers)
        body = orjson.dumps({"events": [_event(number * 1000 + each) for each in range(events)]})
        return wire.request("PUT", f"/_matrix/app/v1/transactions/{number}", body, self.token)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each size and server."""
    async with AsyncExitStack() as stack:
        postgres = Postgres.start(is_durable=True)
        stack.callback(postgres.stop)
        homeservers = [
            await _before(City(directory, agents=1), stack),
            await _before(City(directory, agents=1, postgres_url=postgres.url(postgres.create_database())), stack),
            await _before_mautrix(directory, stack),
        ]
        return [
            row
            for events, each in plan.sizes
            for row in await _measure_in_turns(homeservers, events, each, plan.rounds)
        ]


async def _measure_in_turns(
    homeservers: list[_Homeserver], events: int, transactions: int, rounds: int
) -> list[dict[str, Any]]:
    for homeserver in homeservers:
        await homeserver.send(events, _WARM_UP)
        homeserver.begin()
    for _ in range(rounds):
        for homeserver in homeservers:
            await homeserver.send(events, transactions)
    return [homeserver.figures(events) for homeserver in homeservers]


async def _before(city: City, stack: AsyncExitStack) -> _Homeserver:
    stack.callback(city.stop)
    await city.start()
    return await _connected(city.key, city.child, city.matrix_port, city.hs_token, stack)


async def _before_mautrix(directory: Path, stack: AsyncExitStack) -> _Homeserver:
    port = free_port()
    arguments = (port, SERVER_NAME, "a token of ours", _HS_TOKEN)
    child = program("mautrix", "benchmarks.peers.mautrix_appservice", *arguments, log=directory / "mautrix.log")
    stack.callback(child.kill)
    child.start()
    await listening(child, port)
    return await _connected("mautrix", child, port, _HS_TOKEN, stack)


async def _connected(key: str, child: Child, port: int, token: str, stack: AsyncExitStack) -> _Homeserver:
    line = await wire.HttpConnection.open(port)
    stack.callback(line.transport.abort)
    return _Homeserver(key, child, line, token)


def _event(number: int) -> dict[str, Any]:
    """Return a message event of a Matrix user, as Synapse sends it."""
    return {
        "type": "m.room.message",
        "room_id": f"!{number % _ROOMS:043}",
        "sender": f"@alice:{SERVER_NAME}",
        "user_id": f"@alice:{SERVER_NAME}",
        "content": {"msgtype": "m.text", "body": f"Добрий вечір, ми з України: {number}", "m.mentions": {}},
        "origin_server_ts": 1_764_000_000_000 + number,
        "unsigned": {"age": 23, "membership": "join"},
        "event_id": f"${number:043}",
        "age": 23,
    }
