"""The first events on ``/ws/city/rooms/{room_id}``: none is lost between the response to the request and the subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from daarion_appservice.realtime.room_streams import RoomStreams
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.room_socket import looked_on, looking_on, say


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


@pytest.mark.parametrize("is_watched", [False, True], ids=["first listener", "another listener"])
async def test_events_between_the_response_and_the_subscription_are_sent(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch, is_watched: bool
) -> None:
    """A client without ``since`` reads the messages once it is connected; the database may answer its socket later."""
    await say(city, "before")
    asked, answered = asyncio.Event(), asyncio.Event()
    identify = RoomStreams._identify

    async def identify_late(*args: Any) -> None:
        asked.set()
        await answered.wait()
        await identify(*args)

    async with AsyncExitStack() as stack:
        if is_watched:
            await stack.enter_async_context(looking_on(city))
            await looked_on(city)
        monkeypatch.setattr(RoomStreams, "_identify", identify_late)
        late = await stack.enter_async_context(looking_on(city))
        await asked.wait()
        await say(city, "1", "2")
        answered.set()
        assert await late.bodies(2) == [(2, "1"), (3, "2")]
        await looked_on(city, 1 + is_watched)
        await say(city, "3")
        assert await late.bodies(1) == [(4, "3")]


async def test_events_before_the_stream_of_the_room_is_opened_are_sent(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    open_stream = RoomStreams._open

    async def open_late(*args: Any) -> Any:
        asked.set()
        await answered.wait()
        return await open_stream(*args)

    monkeypatch.setattr(RoomStreams, "_open", open_late)
    async with looking_on(city) as late:
        await asked.wait()
        await say(city, "1")
        answered.set()
        assert await late.bodies(1) == [(1, "1")]
