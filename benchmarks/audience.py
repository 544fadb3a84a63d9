"""The process that holds the WebSockets of one server under test (its program is ``benchmarks.readers``)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from daarion_appservice.demo.child_processes import Child
from tests.parts.ports import HOST, free_port

from .contenders import Contender
from .processes import program


@dataclass(frozen=True, slots=True)
class Count:
    updates: int
    at_ns: int


class ReaderProcess:
    """A process with the WebSockets that read from one server under test."""

    def __init__(self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.child = child
        self._reader = reader
        self._writer = writer
        self.size = 0

    @classmethod
    async def start(cls, name: str, directory: Path) -> Self:
        port = free_port()
        connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.put_nowait((reader, writer))

        server = await asyncio.start_server(take, HOST, port, limit=1 << 26)
        child = program(f"readers of {name}", "benchmarks.readers", port, log=directory / f"readers-{name}.log")
        child.start()
        try:
            async with asyncio.timeout(30):
                reader, writer = await connections.get()
        finally:
            server.close()
        return cls(child, reader, writer)

    async def connect(self, contender: Contender, requests: list[bytes]) -> None:
        """Open a WebSocket for each request."""
        self.size = await self._ask(
            {
                "do": "connect",
                "port": contender.port,
                "requests": [request.decode() for request in requests],
                "greeting": contender.greeting.decode(),
            }
        )

    async def expect(self) -> None:
        """Start recording when each socket receives its next update."""
        await self._ask({"do": "expect"})

    async def arrivals_ns(self, wait_s: float) -> list[int]:
        times: list[int] = await self._ask({"do": "arrivals", "wait_s": wait_s})
        return times

    async def count(self) -> Count:
        return Count(*await self._ask({"do": "count"}))

    async def beat(self, texts: list[bytes], offset: int) -> None:
        await self._ask({"do": "beat", "texts": [text.decode() for text in texts], "offset": offset})

    def stop(self) -> None:
        self.child.kill()
        self._writer.close()

    async def _ask(self, command: dict[str, Any]) -> Any:
        self._writer.write(orjson.dumps(command) + b"\n")
        line = await self._reader.readline()
        if not line:
            raise RuntimeError(f"the {self.child.name} ended:\n" + "\n".join(self.child.last_lines(30)))
        return orjson.loads(line)
