"""The time from the start of the process until it is ready, with agents and rooms that an earlier run has set up.

The homeserver is a stub that answers each request after some milliseconds (`peers.homeserver`): Synapse would need an hour to
register the ghosts, and its load would be measured too. The floor is the same start with one agent and three rooms.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from sqlalchemy import update

from daarion_appservice.demo.child_processes import Child
from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.key_values import registry_changed
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres

from . import rooms_reads
from .contenders import City, slug
from .processes import CpuClock, listening, program

_SET_UP_S: Final = 3600.0
_READY_S: Final = 300.0
_STORM_S: Final = 10.0
"""For how long requests to the homeserver are counted after the process is ready, in seconds."""


@dataclass(frozen=True)
class Plan:
    sizes: tuple[tuple[int, int], ...] = ((1, 3), (10_000, 1_000))
    """Agents, and rooms; each agent is in one room."""
    answer_ms: float = 5.0
    """How long the homeserver takes to answer a request, in milliseconds."""
    starts: int = 3
    on_postgres: bool = True


QUICK: Final = Plan(sizes=((1, 3), (200, 20)), starts=1)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each size and database."""
    rows = [await _measure("", agents, rooms, plan, directory) for agents, rooms in plan.sizes]
    if plan.on_postgres:
        postgres = Postgres.start(is_durable=True)
        try:
            for agents, rooms in plan.sizes:
                url = postgres.url(postgres.create_database())
                rows.append(await _measure(url, agents, rooms, plan, directory))
        finally:
            postgres.stop()
    return rows


async def _measure(postgres_url: str, agents: int, rooms: int, plan: Plan, directory: Path) -> dict[str, Any]:
    home = directory / f"{agents}-{rooms}"
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    city = City(home, agents=agents, homeserver=port, postgres_url=postgres_url)
    await city.prepare()
    # The stub keeps no keys: the ghosts would get new devices at each start.
    city.configure({"encryption.pickle_key": ""})
    await _insert(city, agents, rooms)
    delay = home / "delay_ms"
    delay.write_text("")
    arguments = (port, city.matrix_port, city.hs_token, delay)
    homeserver = program("homeserver", "benchmarks.peers.homeserver", *arguments, log=home / "homeserver.log")
    homeserver.start()
    try:
        await listening(homeserver, port)
        await _run_until_set_up(city, port)
        delay.write_text(str(plan.answer_ms))
        starts = [await _start(city, port) for _ in range(plan.starts)]
    finally:
        city.stop()
        homeserver.kill()
    fastest = min(starts, key=lambda start: float(start["ready_s"]))
    return {"who": city.key, "agents": agents, "rooms": rooms} | fastest


async def _insert(city: City, agents: int, rooms: int) -> None:
    database = Database(city.database_url)
    try:
        await rooms_reads.insert_rows(database, rooms_reads.Plan(rooms=rooms, messages=20))
        async with database.transaction() as tx:
            for number in range(agents):
                of_agent = update(tables.agents).where(tables.agents.c.slug == slug(number))
                room = orjson.dumps([rooms_reads.slug(number % rooms)]).decode()
                await tx.connection.execute(of_agent.values(rooms=room))
            await registry_changed(tx.connection)
    finally:
        await database.close()


async def _run_until_set_up(city: City, port: int) -> None:
    """Run the service once, until it makes no more requests to the homeserver."""
    city.child.start()
    await _ready(city, _SET_UP_S)
    async with asyncio.timeout(_SET_UP_S):
        before = -1
        while (count := await _requests(port)) > before + 20:
            before = count
            await asyncio.sleep(3.0)
    await _stop(city.child)


async def _start(city: City, port: int) -> dict[str, Any]:
    before = await _requests(port)
    began_s = time.monotonic()
    city.child.start()
    cpu = CpuClock(city.child, 0.0)
    await _ready(city, _READY_S)
    ready_s, cpu_s = time.monotonic() - began_s, cpu.used_s
    requests = await _requests(port) - before
    await asyncio.sleep(_STORM_S)
    later = await _requests(port) - before - requests
    await _stop(city.child)
    return {"ready_s": ready_s, "cpu_s": cpu_s, "requests": requests, "requests_per_s_later": later / _STORM_S}


async def _stop(child: Child) -> None:
    await child.stop()


async def _ready(city: City, within_s: float) -> None:
    async with asyncio.timeout(within_s), aiohttp.ClientSession() as session:
        while not await _is_ready(session, city.matrix_port):
            if not city.child.running:
                raise RuntimeError("\n".join(city.child.last_lines(30)))
            await asyncio.sleep(0.05)


async def _is_ready(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://{HOST}:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def _requests(port: int) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/requests") as answer:
        return int((await answer.json())["count"])
