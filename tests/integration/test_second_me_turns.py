"""Tests of the turns of Second Me: one prompt of a citizen at a time, and requests that are not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from sqlalchemy import select, update

from daarion_appservice.agents import second_me
from daarion_appservice.agents.second_me import SecondMe
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.errors import Conflict
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.tables import secondme_turns
from tests.parts.agents_core import (
    ScriptedCore,
    after,
    delta,
    says,
    stalls_after,
)
from tests.parts.city import eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.second_me import IS_OKSANA, OKSANA, PETRO, ask, code, history, is_requested, whole


@pytest.fixture
async def core() -> AsyncIterator[ScriptedCore]:
    async with ScriptedCore().serving() as core:
        yield core


@pytest.fixture
async def city(core: ScriptedCore, database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url, agents_core={"url": core.url}) as city:
        yield city


# --- one at a time ------------------------------------------------------------------------------------


async def test_concurrent_prompt_of_citizen_is_409(city: InProcessCity, core: ScriptedCore) -> None:
    gate = asyncio.Event()
    core.next(after(gate, says("перша")))
    first = asyncio.create_task(ask(city, "перше"))
    await eventually(lambda: is_requested(core, 1))
    assert code(await ask(city, "друге")) == (409, "secondme_busy")
    assert (await ask(city, "Петро", token=PETRO)).status == 200, "others are not held up"
    gate.set()
    assert (await first).content["response"] == "перша"
    assert (await ask(city, "третє")).status == 200
    assert [prompt for prompt, _ in await history(city)] == ["перше", "третє"]


@pytest.fixture
async def neighbour(city: InProcessCity, database_url: str) -> AsyncIterator[SecondMe]:
    """Of another process of the same city."""
    database = Database(database_url)
    yield SecondMe(city.city.core, database, now_ms, new_id, agent_id="second_me")
    await database.close()


async def test_concurrent_prompt_in_other_process_is_409(
    city: InProcessCity, neighbour: SecondMe, core: ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_me, "_TURN_LIFETIME_MS", 10_000)
    monkeypatch.setattr(second_me, "_EXTEND_INTERVAL_S", 0.05)
    gate = asyncio.Event()
    core.next(after(gate, says("перша")))
    first = asyncio.create_task(whole(city.city.second_me, "перше"))
    await eventually(lambda: is_requested(core, 1))
    until_ms = await turn_ends(city)

    async def is_held_longer() -> bool:
        return await turn_ends(city) > until_ms + 1_000

    await eventually(is_held_longer)
    with pytest.raises(Conflict) as busy:
        await whole(neighbour, "друге")
    assert busy.value.code == "secondme_busy"
    gate.set()
    assert await first == "перша"
    assert await whole(neighbour, "третє") == "відповідь 2"
    assert core.requests[1].history == ["перше", "перша"]


async def turn_ends(city: InProcessCity) -> int:
    async with city.city.database.read_only() as tx:
        found = await tx.connection.scalar(select(secondme_turns.c.until_ms))
    assert found is not None
    return int(found)


async def test_lock_of_killed_process_expires(city: InProcessCity, neighbour: SecondMe) -> None:
    async with city.city.database.transaction() as tx:
        assert await tx.interactions.take_turn(IS_OKSANA, "of the dead", now_ms=0, until_ms=now_ms() + 60_000)
    assert code(await ask(city, "питання")) == (409, "secondme_busy")
    async with city.city.database.transaction() as tx:
        await tx.connection.execute(update(secondme_turns).values(until_ms=now_ms()))
    assert await whole(neighbour, "питання") == "відповідь 1"


async def test_response_after_lost_lock_is_not_stored(
    city: InProcessCity, neighbour: SecondMe, core: ScriptedCore
) -> None:
    gate = asyncio.Event()
    core.next(after(gate, says("пізня")))
    frozen = asyncio.create_task(whole(city.city.second_me, "перше"))
    await eventually(lambda: is_requested(core, 1))
    async with city.city.database.transaction() as tx:
        await tx.connection.execute(update(secondme_turns).values(until_ms=now_ms()))
    await whole(neighbour, "друге")
    gate.set()
    with pytest.raises(Conflict):
        await frozen
    assert [prompt for prompt, _ in await history(city)] == ["друге"]


# --- whoever does not wait ----------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_disconnect_cancels_request(city: InProcessCity, core: ScriptedCore, accept: str) -> None:
    core.next(stalls_after(delta("Озе")))
    asking = asyncio.create_task(impatient(city, accept))
    await eventually(lambda: is_requested(core, 1))
    asking.cancel()
    await asyncio.wait([asking])

    async def is_over() -> bool:
        return core.under_way == 0

    await eventually(is_over)
    assert core.hung_up == 1

    async def may_ask_again() -> bool:
        return (await ask(city, "ще раз")).status == 200

    await eventually(may_ask_again)
    assert [prompt for prompt, _ in await history(city)] == ["ще раз"]


async def impatient(city: InProcessCity, accept: str = "application/json") -> bytes:
    """A client that disconnects when the test requests it."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://{HOST}:{city.city.settings.api.port}/secondme/invoke",
            json={"prompt": "питання"},
            headers={"Authorization": f"Bearer {OKSANA}", "Accept": accept},
        ) as response,
    ):
        return await response.read()


async def test_restart_releases_lock(core: ScriptedCore, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, agents_core={"url": core.url}) as city:
        core.next(stalls_after(delta("Озе")))
        cut_off = asyncio.create_task(impatient(city))
        await eventually(lambda: is_requested(core, 1))
    await asyncio.wait([cut_off])
    assert isinstance(cut_off.exception(), aiohttp.ClientError)
    async with in_process_city(sqlite_url, agents_core={"url": core.url}) as city:
        assert (await ask(city, "ще раз")).status == 200
        assert core.requests[-1].history == []
