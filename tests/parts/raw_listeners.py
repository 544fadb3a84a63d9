"""TCP and TLS listeners below HTTP, for clients that speak the wrong protocol with them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def accepting(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen and close each connection after its handler; yield the port, and leave no connection open."""
    connections: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.append(task)
        with suppress(OSError, EOFError):
            await handle(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(accept, HOST, 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.wait_for(asyncio.gather(*connections), WAIT_S)


@asynccontextmanager
async def closing_tls_listener(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A listener that closes connections on which no TLS is spoken, as Synapse's does."""

    async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async with accepting(close, context) as port:
        yield port
