"""Minimal HTTP and WebSocket clients on bare asyncio protocols: they share the processors with the measured server.

They trust the server, and parse frames and responses only as far as the measurement needs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections import deque
from collections.abc import Callable
from typing import Final, Self, cast

HOST: Final = "127.0.0.1"

_PING: Final = b"\x89\x00"
"""Neither byte sequence occurs in the ASCII JSON of a frame; in the length of a frame it may, and causes a needless pong."""
_PONG: Final = b"\x8a\x80\0\0\0\0"
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def client_frame(text: bytes) -> bytes:
    """Return a text frame of a client, masked with zeros."""
    length = len(text)
    head = bytes((0x81, 0x80 | length)) if length < 126 else bytes((0x81, 0xFE)) + length.to_bytes(2)
    return head + b"\0\0\0\0" + text


def upgrade(path: str, token: str = "") -> bytes:
    """Return the HTTP request of a WebSocket handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Socket(asyncio.Protocol):
    """A WebSocket client that passes received bytes to ``take``, unparsed, and responds to pings."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, take: Callable[[bytes], None], *, greeting: bytes = b"") -> None:
        self._request = request
        self._take = take
        self._greeting = greeting
        self._head = b""
        self.is_open = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, port: int, request: bytes, take: Callable[[bytes], None], *, greeting: bytes = b"") -> Self:
        """Open a connection, and send ``greeting`` right after the handshake.

        Raises:
            ConnectionError: the server refused the handshake.
        """
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(request, take, greeting=greeting), HOST, port)
        await socket.is_open
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_open.done():
            self.is_open.set_exception(error or ConnectionResetError("closed in the handshake"))

    def data_received(self, data: bytes) -> None:
        if _PING in data:
            self.transport.write(_PONG)
        if self.is_open.done():
            self._take(data)
        else:
            self._shake_hands(data)

    def say(self, text: bytes) -> None:
        self.transport.write(client_frame(text))

    def _shake_hands(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(_HEAD_END)
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101"):
            self.is_open.set_exception(ConnectionRefusedError(self._head[:500].decode(errors="replace")))
            return
        if self._greeting:
            self.say(self._greeting)
        self.is_open.set_result(None)
        if rest:
            self._take(rest)


class HttpConnection(asyncio.Protocol):
    """A keep-alive HTTP connection with pipelining: several requests may be pending, and responses come in order."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.last_size = 0
        """Size of the last response's body in bytes."""
        self._asked: deque[asyncio.Future[int]] = deque()
        self._waiting = b""
        self._missing = 0
        self._status = 0

    @classmethod
    async def open(cls, port: int) -> Self:
        _, line = await asyncio.get_running_loop().create_connection(cls, HOST, port)
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        for answer in self._asked:
            answer.cancel()

    def post(self, path: str, body: bytes, token: str) -> asyncio.Future[int]:
        """Send a POST request; return a future of its status, which is set when the response is complete."""
        return self.ask(request("POST", path, body, token))

    def ask(self, raw_request: bytes) -> asyncio.Future[int]:
        """Send an encoded request; return a future of its status."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self.transport.write(raw_request)
        return answer

    def data_received(self, data: bytes) -> None:
        while data:
            if self._missing:
                taken = min(self._missing, len(data))
                self._missing -= taken
                data = data[taken:]
            else:
                data = self._take_head(self._waiting + data)
            if not self._missing and self._status:
                self._asked.popleft().set_result(self._status)
                self._status = 0

    def _take_head(self, data: bytes) -> bytes:
        head, end, rest = data.partition(_HEAD_END)
        if not end:
            self._waiting = data
            return b""
        self._waiting = b""
        self._status = int(head[9:12])
        length = _LENGTH.search(head)
        self._missing = int(length[1]) if length else 0
        self.last_size = self._missing
        return rest


class Line:
    """An HTTP connection that is opened at its first request, and again after the server has closed it for being idle."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: HttpConnection | None = None

    async def ask(self, raw_request: bytes) -> int:
        """Send an encoded request; return the status of its response."""
        if self._connection is None or self._connection.transport.is_closing():
            self._connection = await HttpConnection.open(self._port)
        return await self._connection.ask(raw_request)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()


def request(method: str, path: str, body: bytes = b"", token: str = "") -> bytes:
    """Return an HTTP request for a keep-alive connection."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
