"""A client of ``/ws/city/presence`` that keeps the events that it received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from daarion_appservice.http.websocket.presence import PATH
from tests.parts.city import eventually
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
    async with city.session.ws_connect(url, headers=headers) as socket:
        reader = Socket(socket)
        reading = asyncio.create_task(reader.read())
        try:
            await until(lambda: bool(reader.events))
            yield reader
        finally:
            await socket.close()
            await asyncio.gather(reading, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds)
