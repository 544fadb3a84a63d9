"""Clients of a room load it again after a member was linked or unlinked, also those that were not connected then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.parts.frames import next_frame
from tests.parts.in_process_city import in_process_city
from tests.parts.linked_person import ROOM, Town, open_town
from tests.parts.ports import HOST


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    async with open_town(database_url) as town:
        yield town


@asynccontextmanager
async def room_socket(city: Any, query: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"ws://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general{query}"
    async with city.session.ws_connect(url) as socket:
        yield socket


async def resync(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Receive frames until a resync and return its number."""
    while (frame := await next_frame(socket))["event"] != "city.room.resync":
        pass
    return int(frame["seq"])


@pytest.mark.parametrize("change", ["link", "unlink"])
async def test_client_that_returns_after_link_loads_room_again(town: Town, change: str) -> None:
    await town.join()
    await town.post("hello")
    if change == "unlink":
        await town.link()
    since = (await town.city.get(ROOM))["last_seq"]
    await (town.link() if change == "link" else town.unlink())
    async with room_socket(town.city, f"?since={since}") as socket:
        newest = await resync(socket)
    room = await town.city.get(ROOM)
    assert room["last_seq"] == newest
    # With the state of the resync the client misses nothing: the next frame is the next message.
    async with room_socket(town.city, f"?since={newest}") as socket:
        posted = await town.post("after")
        frame = await next_frame(socket)
        assert (frame["event"], frame["message"]["id"]) == ("city.room.message", posted["id"])


async def test_connected_client_gets_one_resync(town: Town) -> None:
    await town.join()
    async with room_socket(town.city) as socket:
        await town.post("before")
        await next_frame(socket)
        await town.link()
        await resync(socket)
        await town.post("after")
        frames = [await next_frame(socket)]
        while frames[-1].get("message", {}).get("body") != "after":
            frames.append(await next_frame(socket))
        assert "city.room.resync" not in {frame["event"] for frame in frames}
        assert frames[-1]["message"]["author"]["kind"] == "matrix"


async def test_link_without_change_is_no_event(town: Town) -> None:
    await town.join()
    await town.link()
    before = (await town.city.get(ROOM))["last_seq"]
    await town.link()
    assert (await town.city.get(ROOM))["last_seq"] == before


async def test_link_is_resync_in_other_process(town: Town, database_url: str) -> None:
    await town.join()
    async with in_process_city(database_url) as other:
        since = (await town.city.get(ROOM))["last_seq"]
        async with room_socket(other) as connected:
            await town.link()
            await other.city.account_cache.load()
            assert await resync(connected) > since
        async with room_socket(other, f"?since={since}") as returning:
            assert await resync(returning) > since
