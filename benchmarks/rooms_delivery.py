"""Latency of messages between a Matrix client and the city's page, split into the parts of Synapse and of this service.

    Element ──PUT──► Synapse ──transaction──► (tap) ──► service ──frame──► WebSocket
    city's page ──POST──► service ──PUT──► (tap) ──► Synapse ──sync──► nio

One message at a time; the proxies (``tap``), which forward all bytes unchanged, record where one part ends and the other begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import jwt
import nio
import orjson

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres
from tests.parts.synapse import SERVER_NAME

from . import wire
from .contenders import JWT_SECRET, City
from .figures import percentile
from .readiness import ready
from .tap import Marks, mark, tap

_ROOM: Final = "general"
_SEEN_S: Final = 60.0
_WARM_UP: Final = 5
_PAUSE_S: Final = 0.03


@dataclass(frozen=True)
class Plan:
    messages: int = 150
    """Messages in each direction, on each database."""
    on_postgres: bool = True
    """Whether to measure with PostgreSQL too."""


QUICK: Final = Plan(messages=20)

Say = Callable[[int], Awaitable[None]]


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each direction and database."""
    rows = await _measure("", plan, directory)
    if plan.on_postgres:
        postgres = Postgres.start(is_durable=True)
        try:
            rows += await _measure(postgres.url(postgres.create_database()), plan, directory)
        finally:
            postgres.stop()
    return rows


async def _measure(postgres_url: str, plan: Plan, directory: Path) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        port = free_port()
        to_synapse_port, to_synapse = await stack.enter_async_context(tap(port))
        city = City(directory, agents=1, homeserver=to_synapse_port, postgres_url=postgres_url)
        await city.prepare()
        to_us_port, to_us = await stack.enter_async_context(tap(city.matrix_port))
        _insert_tap(city, to_us_port)
        setup = SynapseSetup(directory / f"synapse-{city.key}", SERVER_NAME, port, registrations=[city.registration])
        synapse = await stack.enter_async_context(LocalSynapse(setup))
        stack.callback(city.stop)
        await city.start()
        await ready(city)
        numbers = count()
        async with _open_clients(city, synapse) as (person, citizen, in_the_city, on_matrix):
            into_the_city = await _say(person, numbers, plan, in_the_city)
            onto_matrix = await _say(citizen, numbers, plan, on_matrix)
        return [
            {"way": "in", "who": city.key} | _figures(into_the_city, to_us, in_the_city, "synapse", "ours"),
            {"way": "out", "who": city.key} | _figures(onto_matrix, to_synapse, on_matrix, "ours", "synapse"),
        ]


def _insert_tap(city: City, port: int) -> None:
    """Change the registration so that the homeserver reaches the service through a recording proxy."""
    text = city.registration.read_text()
    city.registration.write_text(text.replace(f"{HOST}:{city.matrix_port}", f"{HOST}:{port}"))


@asynccontextmanager
async def _open_clients(city: City, synapse: LocalSynapse) -> AsyncIterator[tuple[Say, Say, Marks, Marks]]:
    """Yield functions that send a message as a Matrix user and as a citizen, and the marks that each of them receives."""
    account = await synapse.register("alice", "secret")
    client = nio.AsyncClient(synapse.url, f"@alice:{SERVER_NAME}")
    client.restore_login(f"@alice:{SERVER_NAME}", "BENCHMARK", account.access_token)
    on_matrix, in_the_city = Marks(), Marks()
    client.add_event_callback(lambda _room, event: on_matrix.record(event.body.encode()), (nio.RoomMessageText,))
    joined = await client.join(f"#city_{_ROOM}:{SERVER_NAME}")
    syncing = asyncio.create_task(client.sync_forever(timeout=10_000, full_state=True))
    socket = await wire.Socket.open(city.port, wire.upgrade(f"/ws/city/rooms/{_ROOM}"), in_the_city.record)
    line = await wire.HttpConnection.open(city.port)
    headers = {"Authorization": f"Bearer {account.access_token}"}
    token = jwt.encode({"sub": "u_1", "name": "Оксана", "exp": int(time.time()) + 3600}, JWT_SECRET, "HS256")
    try:
        async with aiohttp.ClientSession(synapse.url, headers=headers) as session:

            async def person(number: int) -> None:
                path = f"/_matrix/client/v3/rooms/{quote(joined.room_id)}/send/m.room.message/{number}"
                async with session.put(path, json={"msgtype": "m.text", "body": mark(number)}) as answer:
                    answer.raise_for_status()

            async def citizen(number: int) -> None:
                body = orjson.dumps({"body": mark(number)})
                status = await line.post(f"/city/rooms/{_ROOM}/messages", body, token)
                if status != 201:
                    raise RuntimeError(f"posting a message returned {status}:\n" + "\n".join(city.child.last_lines(30)))

            yield person, citizen, in_the_city, on_matrix
    finally:
        syncing.cancel()
        await asyncio.gather(syncing, return_exceptions=True)
        await client.close()
        for transport in (socket.transport, line.transport):
            transport.abort()


async def _say(say: Say, numbers: count[int], plan: Plan, seen: Marks) -> dict[int, float]:
    """Send messages, each after the previous one was received; return when each was sent, without the warm-up."""
    sent_s = {}
    for turn in range(_WARM_UP + plan.messages):
        number = next(numbers)
        began_s = time.perf_counter()
        await say(number)
        async with asyncio.timeout(_SEEN_S):
            while number not in seen.seen_s:
                await asyncio.sleep(0.002)
        if turn >= _WARM_UP:
            sent_s[number] = began_s
        await asyncio.sleep(_PAUSE_S)
    return sent_s


def _figures(sent_s: Mapping[int, float], between: Marks, seen: Marks, first: str, second: str) -> dict[str, Any]:
    parts_ms: dict[str, list[float]] = {
        first: [(between.seen_s[number] - at_s) * 1000 for number, at_s in sent_s.items()],
        second: [(seen.seen_s[number] - between.seen_s[number]) * 1000 for number in sent_s],
        "whole": [(seen.seen_s[number] - at_s) * 1000 for number, at_s in sent_s.items()],
    }
    return {"messages": len(sent_s)} | {
        f"{part}_p{percent}_ms": percentile(samples, percent)
        for part, samples in parts_ms.items()
        for percent in (50, 95)
    }
