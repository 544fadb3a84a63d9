"""The floor: the cost of the transports alone.

``city`` port    responds to the WebSocket handshake, then ignores what it reads; responds to a POST, without parsing it, with as
                 many bytes as this service does (``?answer=`` is their number)
``control`` port reads changes, one in each line, and writes them to every WebSocket, many in one frame
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
import time
from typing import Final, cast

import uvloop

HOST: Final = "127.0.0.1"

TICK_S: Final = 0.05

_WELCOME: Final = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ANSWER: Final = re.compile(rb"answer=(\d+)")

_open: set[asyncio.Transport] = set()


class City(asyncio.Protocol):
    """A connection of a client."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._is_socket = False
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        _open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._is_socket:
            return
        self._waiting += data
        while self._take_request():
            pass

    def _take_request(self) -> bool:
        """Respond to the next request if it is complete; one read may contain several."""
        head, end, rest = self._waiting.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not end or len(rest) < size:
            return False
        self._waiting = rest[size:]
        if b"Upgrade" in head:
            self._is_socket = True
            _open.add(self._transport)
            self._transport.write(_WELCOME)
            return False
        wanted = _ANSWER.search(head)
        content = b" " * (int(wanted[1]) if wanted else 0)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        return True


class Control(asyncio.Protocol):
    """The connection for changes, which are collected for a tick as in this service, so that the same bytes are sent."""

    def __init__(self) -> None:
        self._waiting = b""
        self._pending: list[bytes] = []
        self._tick: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        *changes, self._waiting = (self._waiting + data).split(b"\n")
        self._pending += changes
        if self._tick is None:
            self._flush()

    def _flush(self) -> None:
        self._tick = None
        if not self._pending:
            return
        frame = _frame(self._pending)
        self._pending = []
        began_s = time.monotonic()
        for transport in _open:
            transport.write(frame)
        pause_s = max(TICK_S, time.monotonic() - began_s)
        self._tick = asyncio.get_running_loop().call_later(pause_s, self._flush)


def _frame(changes: list[bytes]) -> bytes:
    text = (
        changes[0] if len(changes) == 1 else b'{"event":"presence.updates","updates":[%b],"seq":0}' % b",".join(changes)
    )
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    return (bytes((0x81, 126)) + size.to_bytes(2) if size < 1 << 16 else b"\x81\x7f" + size.to_bytes(8)) + text


async def serve(port: int, control_port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Control, HOST, control_port)
    await loop.create_server(City, HOST, port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
