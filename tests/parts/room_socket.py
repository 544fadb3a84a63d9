"""A client of ``/ws/city/rooms/{room_id}`` that reads the events of a room one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

OKSANA: Final = citizen_token("u_1", "Оксана")


class Socket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def next(self) -> dict[str, Any]:
        event: dict[str, Any] = await next_frame(self._socket)
        return event

    async def send(self, **event: Any) -> None:
        await self._socket.send_json(event)

    async def bodies(self, count: int) -> list[tuple[int, str]]:
        """Number and text of the next so many messages."""
        events = [await self.next() for _ in range(count)]
        assert {event["event"] for event in events} == {"city.room.message"}
        return [(event["seq"], event["message"]["body"]) for event in events]


@asynccontextmanager
async def looking_on(city: InProcessCity, query: str = "", room: str = "general") -> AsyncIterator[Socket]:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/{room}{query}"
    async with city.session.ws_connect(url) as socket:
        yield Socket(socket)


async def looked_on(city: InProcessCity, count: int = 1) -> None:
    """Wait until the rooms have this number of listeners."""
    async with asyncio.timeout(WAIT_S):
        while sum(len(room.listeners) for room in city.city.room_streams._streams.values()) < count:
            await asyncio.sleep(0.005)


async def say(city: InProcessCity, *bodies: str) -> list[dict[str, Any]]:
    posted = []
    for body in bodies:
        answer = await city.call("POST", "/city/rooms/general/messages", {"body": body}, token=OKSANA)
        assert answer.status == 201
        posted.append(answer.content)
    return posted
