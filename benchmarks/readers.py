"""A process full of WebSockets that only read: it notes when something arrived, or how many updates did.

It connects to ``audience.Audience``, which tells it what to do in lines of JSON, and is answered likewise. Times are
``time.monotonic_ns``, which on one machine is the same clock for all processes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, Final

import orjson
import uvloop

from .wire import HOST, Socket

UPDATE: Final = b'"user_id"'
"""Stands in each update once. Where a read ends within it, which is rare, an update is not counted."""
_AT_ONCE: Final = 64
"""Handshakes under way."""


class Crowd:
    """All sockets of this process."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []
        self._updates = 0
        self._arrivals: list[int] = []
        self._everybody = asyncio.Event()

    def take(self, data: bytes) -> None:
        updates = data.count(UPDATE)
        if updates:
            self._updates += updates
            self._arrivals.append(time.monotonic_ns())
            if len(self._arrivals) == len(self._sockets):
                self._everybody.set()

    async def connect(self, port: int, requests: list[str], greeting: str) -> int:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(request: str) -> Socket:
            async with slots:
                return await Socket.open(port, request.encode(), self.take, greeting=greeting.encode())

        self._sockets += await asyncio.gather(*map(one, requests))
        return len(self._sockets)

    def expect(self) -> None:
        self._arrivals = []
        self._everybody.clear()

    async def arrivals(self, wait_s: float) -> list[int]:
        """When each socket was told; fewer than there are sockets if they were not within ``wait_s``."""
        try:
            async with asyncio.timeout(wait_s):
                await self._everybody.wait()
        except TimeoutError:
            pass
        return self._arrivals

    def count(self) -> tuple[int, int]:
        """Updates so far, and the time of this answer."""
        self._arrivals = []  # nobody will ask for them
        return self._updates, time.monotonic_ns()

    def beat(self, texts: list[str], offset: int) -> None:
        """Have the sockets from ``offset`` on say one text each."""
        for socket, text in zip(self._sockets[offset:], texts, strict=False):
            socket.say(text.encode())


async def obey(control_port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, control_port, limit=1 << 26)
    crowd = Crowd()
    async for line in reader:
        answer = await _do(crowd, orjson.loads(line))
        writer.write(orjson.dumps(answer) + b"\n")


async def _do(crowd: Crowd, command: dict[str, Any]) -> Any:
    match command:
        case {"do": "connect"}:
            return await crowd.connect(command["port"], command["requests"], command["greeting"])
        case {"do": "expect"}:
            return crowd.expect()
        case {"do": "arrivals"}:
            return await crowd.arrivals(command["wait_s"])
        case {"do": "count"}:
            return crowd.count()
        case {"do": "beat"}:
            return crowd.beat(command["texts"], command["offset"])
    raise ValueError(f"no such command: {command}")


if __name__ == "__main__":
    uvloop.run(obey(int(sys.argv[1])))
