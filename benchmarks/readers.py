"""A process of WebSockets that only read: it records when updates arrived, or how many did.

It connects to ``audience.ReaderProcess``, which sends commands as lines of JSON and receives responses likewise. Times are
``time.monotonic_ns``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from typing import Any, Final

import orjson
import uvloop

from .wire import HOST, Socket

UPDATE: Final = b'"user_id"'
"""Occurs once in each update. An update in which a read ends within these bytes, which is rare, is not counted."""
_MAX_HANDSHAKES: Final = 64
"""Maximum number of concurrent handshakes."""


class SocketGroup:
    """All sockets of this process."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []
        self._updates = 0
        self._arrivals: list[int] = []
        self._all_arrived = asyncio.Event()

    def take(self, data: bytes) -> None:
        updates = data.count(UPDATE)
        if updates:
            self._updates += updates
            self._arrivals.append(time.monotonic_ns())
            if len(self._arrivals) == len(self._sockets):
                self._all_arrived.set()

    async def connect(self, port: int, requests: list[str], greeting: str) -> int:
        slots = asyncio.Semaphore(_MAX_HANDSHAKES)

        async def one(request: str) -> Socket:
            async with slots:
                return await Socket.open(port, request.encode(), self.take, greeting=greeting.encode())

        self._sockets += await asyncio.gather(*map(one, requests))
        return len(self._sockets)

    def expect(self) -> None:
        self._arrivals = []
        self._all_arrived.clear()

    async def arrivals(self, wait_s: float) -> list[int]:
        """Return when each socket received its update, in nanoseconds; fewer times than sockets after ``wait_s`` seconds."""
        try:
            async with asyncio.timeout(wait_s):
                await self._all_arrived.wait()
        except TimeoutError:
            pass
        return self._arrivals

    def count(self) -> tuple[int, int]:
        """Return the number of updates so far, and the current time in nanoseconds."""
        self._arrivals = []  # not needed any more
        return self._updates, time.monotonic_ns()

    def beat(self, texts: list[str], offset: int) -> None:
        """Send one text over each socket from ``offset`` on."""
        for socket, text in zip(self._sockets[offset:], texts, strict=False):
            socket.say(text.encode())


async def serve_commands(control_port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, control_port, limit=1 << 26)
    group = SocketGroup()
    async for line in reader:
        answer = await _run_command(group, orjson.loads(line))
        writer.write(orjson.dumps(answer) + b"\n")


async def _run_command(group: SocketGroup, command: dict[str, Any]) -> Any:
    match command:
        case {"do": "connect"}:
            return await group.connect(command["port"], command["requests"], command["greeting"])
        case {"do": "expect"}:
            return group.expect()
        case {"do": "arrivals"}:
            return await group.arrivals(command["wait_s"])
        case {"do": "count"}:
            return group.count()
        case {"do": "beat"}:
            return group.beat(command["texts"], command["offset"])
    raise ValueError(f"no such command: {command}")


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit: each socket is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    raise_file_limit()
    uvloop.run(serve_commands(int(sys.argv[1])))
