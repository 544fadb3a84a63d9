"""Tests of the parameter ``ids`` of rooms and agents, and of the avatars of agents."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.in_process_city import InProcessCity, in_process_city


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


async def test_rooms_by_id_or_slug(city: InProcessCity) -> None:
    rooms = await city.get("/city/rooms?ids=city_general,builders,nowhere&sort=name")
    assert [room["slug"] for room in rooms] == ["builders", "general"]
    assert (await city.call("GET", f"/city/rooms?ids={','.join(['x'] * 101)}")).status == 422


async def test_agents_by_id(city: InProcessCity) -> None:
    assert [agent["slug"] for agent in await city.get("/api/v1/agents?ids=scribe,nobody")] == ["scribe"]
    assert len(await city.get("/api/v1/agents")) == 2
    assert (await city.call("GET", f"/api/v1/agents?ids={','.join(map(str, range(501)))}")).status == 422


async def test_agents_have_avatars_of_their_ghosts(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.ghosts.put(
            Ghost(UserId("@agent_scribe:city.localhost"), "Писар", "sha256 x", "mxc://city.localhost/face")
        )
    path = "/city/media/city.localhost/face"
    node = await city.get("/api/v1/nodes/node-1")
    (listed,) = await city.get("/api/v1/agents?ids=scribe")
    assert [listed["avatar_url"], node["agents"][0]["avatar_url"]] == [path, path]
    assert (await city.get("/api/v1/agents/scribe"))["avatar_url"] == path
    assert (await city.get("/api/v1/agents/daarwizz"))["avatar_url"] is None
