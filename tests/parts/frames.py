"""Receives from a WebSocket within a time that pings of the server do not prolong, as aiohttp's ``timeout=`` is."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.parts.waiting import WAIT_S


async def next_message(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    """Return the next message of any type; raise TimeoutError after ``WAIT_S`` seconds."""
    async with asyncio.timeout(WAIT_S):
        return await socket.receive()


async def next_frame(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """Return the next message, which has to be an object of JSON; raise TimeoutError after ``WAIT_S`` seconds."""
    async with asyncio.timeout(WAIT_S):
        frame: dict[str, Any] = await socket.receive_json()
    return frame
