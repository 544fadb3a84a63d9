"""Writes frames to the transport of one WebSocket.

Frames for many clients are encoded once and written directly to the transports. A client that reads too slowly is
disconnected with the close code 1013 (try again later), and receives the missed frames when it reconnects with ``?since=``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import WSCloseCode

from ...errors import CityError, TooManyRequests, Unavailable
from ...json_encoding import encode_json
from ..limits.metrics import SLOW_WEBSOCKET
from ..limits.tcp_connection import TcpConnection
from ..metrics import StreamMetrics
from .frames import close_frame, text_frame

_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""The limit of the write buffer of a slow client. Snapshots and replays wait for it to read instead (``SocketWriter.send``)."""
CLOSE_TIMEOUT_S: Final = 5.0
"""How long a peer may take for the closing handshake, or to read the rest of the write buffer."""


class SocketWriter:
    """Writes to one WebSocket.

    Args:
        connection: the TCP connection of the WebSocket.
        metrics: counts what is sent.
    """

    __slots__ = ("_connection", "_metrics", "_transport")

    def __init__(self, connection: TcpConnection, metrics: StreamMetrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._transport = connection.transport

    @property
    def is_behind(self) -> bool:
        """Whether the write buffer is above its high-water mark; ``drained`` waits until it is below the low-water mark."""
        return self._connection.is_behind

    def write(self, frames: bytes, count: int = 1) -> None:
        """Write ``count`` frames, or disconnect a client that is too slow."""
        transport, metrics = self._transport, self._metrics
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MAX_BUFFER_BYTES:
            SLOW_WEBSOCKET.inc()
            transport.write(close_frame(WSCloseCode.TRY_AGAIN_LATER, "too slow: reconnect with since"))
            self._close()
            return
        transport.write(frames)
        metrics.sent_messages += count
        metrics.sent_bytes += len(frames)

    def disconnect(self, error: CityError) -> None:
        """Send an error event and a close frame, and close the connection after the buffer is sent."""
        if not self._transport.is_closing():
            self._transport.write(error_frame(error) + close_frame(close_code(error), error.code))
            self._close()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Write frames one by one, each after the client has read most of those before.

        Raises:
            ConnectionResetError: the client has disconnected.
        """
        for frame in frames:
            if self.is_behind:
                await self.drained()
            self.write(frame)

    async def drained(self) -> None:
        """Wait until the write buffer is below its low-water mark.

        Raises:
            ConnectionResetError: the client has disconnected, or read nothing for too long.
        """
        await self._connection.drained()

    def abort(self) -> None:
        """Close the connection and discard its write buffer."""
        self._transport.abort()

    def _close(self) -> None:
        self._transport.close()
        # close() waits until the buffer is sent, which a stalled peer prevents.
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)


def close_code(error: CityError) -> WSCloseCode:
    return WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.POLICY_VIOLATION


def error_frame(error: CityError, client_id: Any = None) -> bytes:
    """Return the error event; ``client_id`` is the client's id of the event that failed."""
    content: dict[str, Any] = {"event": "error", "code": error.code, "detail": error.detail}
    if isinstance(error, TooManyRequests):
        content["retry_after_ms"] = math.ceil(error.retry_after_s * 1000)
    if client_id is not None:
        content["client_id"] = client_id
    return text_frame(encode_json(content))
