"""A TCP proxy that searches the bytes it forwards for marks, and records when each mark passed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

from tests.parts.ports import HOST, free_port

_MARK: Final = re.compile(rb"mark-(\d{6});")
_MARK_BYTES: Final = 12


def mark(number: int) -> str:
    """Return the text of a message that the proxy recognises."""
    return f"mark-{number:06};"


@dataclass
class Marks:
    """The time of each mark's first occurrence, on ``time.perf_counter``."""

    seen_s: dict[int, float] = field(default_factory=dict)
    _tail: bytes = b""

    def record(self, data: bytes) -> None:
        now_s = time.perf_counter()
        # A mark may begin in one chunk and end in the next.
        for found in _MARK.findall(self._tail + data):
            self.seen_s.setdefault(int(found), now_s)
        self._tail = data[1 - _MARK_BYTES :]


@asynccontextmanager
async def tap(target_port: int) -> AsyncIterator[tuple[int, Marks]]:
    """Yield the port of a proxy to ``target_port``, and the marks in what it forwards to that port."""
    marks, port = Marks(), free_port()
    server = await asyncio.get_running_loop().create_server(lambda: _ClientConnection(target_port, marks), HOST, port)
    try:
        yield port, marks
    finally:
        server.close()


class _ClientConnection(asyncio.Protocol):
    """A connection of a client, whose bytes go to the target."""

    def __init__(self, target_port: int, marks: Marks) -> None:
        self._target_port = target_port
        self._marks = marks
        self._waiting: list[bytes] = []
        self._target: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connecting = asyncio.create_task(self._connect(cast("asyncio.Transport", transport)))

    def data_received(self, data: bytes) -> None:
        self._marks.record(data)
        if self._target is None:
            self._waiting.append(data)
        else:
            self._target.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._connecting.cancel()
        if self._target is not None:
            self._target.close()

    async def _connect(self, back: asyncio.Transport) -> None:
        try:
            loop = asyncio.get_running_loop()
            self._target, _ = await loop.create_connection(lambda: _TargetConnection(back), HOST, self._target_port)
        except OSError:
            back.abort()
            return
        self._target.write(b"".join(self._waiting))


class _TargetConnection(asyncio.Protocol):
    def __init__(self, back: asyncio.Transport) -> None:
        self._back = back

    def data_received(self, data: bytes) -> None:
        self._back.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._back.close()
