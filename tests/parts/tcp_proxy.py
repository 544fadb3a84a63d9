"""A TCP proxy that can cut every connection, as a failing network does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.parts.ports import HOST, free_port

_CHUNK_BYTES = 64 * 1024


@dataclass
class TcpProxy:
    target_port: int
    port: int = field(default_factory=free_port)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _is_up: bool = True

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def cut(self) -> None:
        """End all connections; new ones are cut too, until ``mend``."""
        self._is_up = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_up = True

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_up:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, there_writer}
        self._writers |= pair
        if not self._is_up:
            # Cut while the connection was being made.
            self.cut()
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pass_on(reader, there_writer))
                ways.create_task(_pass_on(there_reader, writer))
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def tcp_proxy_to(port: int) -> AsyncIterator[TcpProxy]:
    relay = TcpProxy(port)
    server = await asyncio.start_server(relay.take, HOST, relay.port)
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        await server.wait_closed()
