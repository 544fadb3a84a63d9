"""HTTP requests as raw bytes, including malformed ones, and the responses to them."""

from __future__ import annotations

import asyncio

from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S


async def status_of(
    port: int, path: bytes = b"/", headers: tuple[tuple[bytes, bytes], ...] = (), *, method: bytes = b"GET"
) -> int:
    """The status of the answer to one request; 0 when the connection is closed without one. ``Host`` is added if it is not
    among ``headers``."""
    lines = [method + b" " + path + b" HTTP/1.1"]
    if not any(name.lower() == b"host" for name, _ in headers):
        lines.append(b"Host: 127.0.0.1")
    lines += [name + b": " + value for name, value in headers]
    lines += [b"Connection: close", b"", b""]
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"\r\n".join(lines))
        async with asyncio.timeout(WAIT_S):
            first = await reader.readline()
    except ConnectionError:
        return 0
    finally:
        writer.close()
    return int(first.split()[1]) if first else 0


def websocket(*more: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that open a WebSocket, and others."""
    return (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"Sec-WebSocket-Version", b"13"),
        *more,
    )
