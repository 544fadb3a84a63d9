"""A client of ``/ws/city/presence`` that keeps the events that it received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from daarion_appservice.http.websocket.presence import PATH
from tests.parts.city import RunningCity, eventually
from tests.parts.in_process_city import InProcessCity
from tests.parts.ports import HOST


class Socket:
    """A connection and its received events."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def read(self) -> None:
        async for message in self.socket:
            self.events.append(message.json())

    def room(self, slug: str) -> dict[str, Any] | None:
        """The last received state of a room."""
        found = [
            room
            for event in self.events
            if event["event"] == "city.rooms.updated"
            for room in event["rooms"]
            if room["slug"] == slug
        ]
        return found[-1] if found else None


@asynccontextmanager
async def connected(
    city: InProcessCity, query: str = "?batch=1&rooms=1", token: str | None = None
) -> AsyncIterator[Socket]:
    url = f"ws://{HOST}:{city.city.settings.api.port}{PATH}{query}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # A change that comes before the first snapshot is a part of it, and has no frame of its own.
    first = "city.unread.snapshot" if token and "unread=1" in query else "presence.snapshot"
    async with city.session.ws_connect(url, headers=headers) as socket, _reading(socket, first) as reader:
        yield reader


@asynccontextmanager
async def receiving_updates(city: RunningCity) -> AsyncIterator[list[dict[str, Any]]]:
    """Return the events that a process sends after the snapshot, in a list that grows."""
    async with (
        city.session.ws_connect(f"{city.api_url}{PATH}") as socket,
        _reading(socket, "presence.snapshot") as reader,
    ):
        reader.events.clear()
        yield reader.events


@asynccontextmanager
async def _reading(socket: aiohttp.ClientWebSocketResponse, first: str) -> AsyncIterator[Socket]:
    """Read the events in a task, and begin once the event ``first`` has come."""
    reader = Socket(socket)
    reading = asyncio.create_task(reader.read())
    try:
        await until(lambda: any(event["event"] == first for event in reader.events))
        yield reader
    finally:
        await socket.close()
        await asyncio.gather(reading, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds)
