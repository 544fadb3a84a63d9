"""Requests and WebSockets of a city with rate limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city
from tests.parts.ports import HOST

OKSANA, IVAN = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Іван")
MESSAGES = "/city/rooms/general/messages"
ROOM_SOCKET, PRESENCE_SOCKET = "/ws/city/rooms/general", "/ws/city/presence"
HOME, OTHER_HOME = "203.0.113.7", "198.51.100.4"
Open = Callable[..., Awaitable[InProcessCity]]


def by(address: str) -> dict[str, str]:
    """Headers of a request that a proxy on this machine passes on from there."""
    return {"X-Forwarded-For": address}


async def say(city: InProcessCity, body: str = "hi", *, token: str = OKSANA, **more: Any) -> HttpResponse:
    return await city.call("POST", MESSAGES, {"body": body}, token=token, **more)


@asynccontextmanager
async def socket(city: InProcessCity, path: str, token: str = "", address: str = HOST) -> AsyncIterator[Any]:
    url = f"http://{HOST}:{city.city.settings.api.port}{path}" + (f"?token={token}" if token else "")
    async with city.session.ws_connect(url, headers=by(address)) as opened:
        yield opened


async def next_of(opened: aiohttp.ClientWebSocketResponse, *events: str) -> dict[str, Any]:
    """The next of these events."""
    while True:
        event: dict[str, Any] = await next_frame(opened)
        if event["event"] in events:
            return event


@asynccontextmanager
async def opening_with_limits(database_url: str) -> AsyncIterator[Open]:
    """Return what opens a city with these limits on the database."""
    async with AsyncExitStack() as cities:

        async def open_one(**limits: Any) -> InProcessCity:
            return await cities.enter_async_context(in_process_city(database_url, limits=limits))

        yield open_one
