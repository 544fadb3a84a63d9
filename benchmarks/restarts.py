"""The time from the start of the process until it is ready, with agents and rooms that an earlier run has set up.

The homeserver is a stub that answers each request after some milliseconds (`peers.homeserver`): Synapse would need an hour to
register the ghosts, and its load would be measured too. The floor is the same start with one agent and three rooms.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from sqlalchemy import insert, select, update

from daarion_appservice.city.avatars import agent_avatar, avatar_key
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.demo.child_processes import Child
from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.ghosts import DRAWN
from daarion_appservice.storage.key_values import registry_changed
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres
from tests.parts.synapse import SERVER_NAME

from . import rooms_reads
from .contenders import City, slug
from .processes import CpuClock, listening, program

_SET_UP_S: Final = 3600.0
_READY_S: Final = 300.0
_SET_UP: Final = 200
"""The service sets up so many agents; the others are added to the tables as the service would leave them there."""
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
    first = min(agents, _SET_UP)
    city = City(home, agents=first, homeserver=port, postgres_url=postgres_url)
    await city.prepare()
    # The stub keeps no keys: the ghosts would get new devices at each start.
    city.configure({"encryption.pickle_key": ""})
    await _insert_rooms(city, first, rooms)
    delay = home / "delay_ms"
    delay.write_text("")
    arguments = (port, city.matrix_port, city.hs_token, delay)
    homeserver = program("homeserver", "benchmarks.peers.homeserver", *arguments, log=home / "homeserver.log")
    homeserver.start()
    try:
        await listening(homeserver, port)
        await _run_until_set_up(city, port)
        if agents > first:
            await _add_agents(city, port, range(first, agents), rooms)
        delay.write_text(str(plan.answer_ms))
        starts = [await _start(city, port) for _ in range(plan.starts)]
    finally:
        city.stop()
        homeserver.kill()
    fastest = min(starts, key=lambda start: float(start["ready_s"]))
    return {"who": city.key, "agents": agents, "rooms": rooms} | fastest


async def _insert_rooms(city: City, agents: int, rooms: int) -> None:
    database = Database(city.database_url)
    try:
        await rooms_reads.insert_rows(database, rooms_reads.Plan(rooms=rooms, messages=20))
        async with database.transaction() as tx:
            for number in range(agents):
                of_agent = update(tables.agents).where(tables.agents.c.slug == slug(number))
                await tx.connection.execute(of_agent.values(rooms=_rooms_of(number, rooms)))
            await registry_changed(tx.connection)
    finally:
        await database.close()


async def _add_agents(city: City, port: int, numbers: range, rooms: int) -> None:
    """Add agents with their ghosts and memberships, as if the service had set them up."""
    database = Database(city.database_url)
    try:
        async with database.transaction() as tx:
            avatars = await tx.drawn_avatars.current()
            ghost = (
                await tx.connection.execute(select(tables.ghosts).where(tables.ghosts.c.user_id == _user(0)))
            ).one()
            made = [agent for agent in await tx.agents.all() if agent.slug == slug(0)]
            rows = [_ghost(number, made[0], ghost, avatars) for number in numbers]
            drawn = {row["avatar_mxc"]: row["avatar_source"].removeprefix(DRAWN) for row in rows}
            new = [{"mxc": mxc, "key": key} for mxc, key in drawn.items() if key not in avatars]
            if new:
                await tx.connection.execute(insert(tables.drawn_avatars), new)
            await tx.connection.execute(insert(tables.agents), [_agent(number, rooms) for number in numbers])
            await tx.connection.execute(insert(tables.ghosts), rows)
            await tx.connection.execute(insert(tables.members), [_member(number, rooms) for number in numbers])
            await registry_changed(tx.connection)
    finally:
        await database.close()
    joined = {f"#city:{SERVER_NAME}": [_user(number) for number in numbers]}
    for number in numbers:
        joined.setdefault(f"!{number % rooms:043}", []).append(_user(number))
    async with aiohttp.ClientSession() as session, session.post(f"http://{HOST}:{port}/joined", json=joined) as answer:
        answer.raise_for_status()


def _agent(number: int, rooms: int) -> dict[str, Any]:
    name = slug(number)
    return {
        "id": name,
        "slug": name,
        "display_name": _name(number),
        "rooms": _rooms_of(number, rooms),
        "created_at_ms": 0,
    }


def _ghost(number: int, example: Agent, ghost: Any, avatars: dict[str, str]) -> dict[str, Any]:
    """Return the row of a ghost; agents with the same initial and color share a drawn avatar."""
    key = avatar_key(agent_avatar(replace(example, slug=AgentSlug(slug(number)), display_name=_name(number))))
    shown = {"avatar_source": f"{DRAWN}{key}", "avatar_mxc": avatars.get(key, f"mxc://{SERVER_NAME}/{key}")}
    return dict(ghost._mapping) | {"user_id": _user(number), "display_name": _name(number)} | shown  # noqa: SLF001 -- public, in spite of its name


def _member(number: int, rooms: int) -> dict[str, Any]:
    return {
        "room_id": f"city_{rooms_reads.slug(number % rooms)}",
        "user_id": _user(number),
        "display_name": _name(number),
    }


def _rooms_of(number: int, rooms: int) -> str:
    return orjson.dumps([rooms_reads.slug(number % rooms)]).decode()


def _name(number: int) -> str:
    return f"Agent {number}"


def _user(number: int) -> str:
    return f"@agent_{slug(number)}:{SERVER_NAME}"


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
