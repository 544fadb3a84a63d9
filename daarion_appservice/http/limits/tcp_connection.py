"""One TCP connection of a listener: an ``asyncio.Protocol`` around the one of aiohttp.

    transport ─► TcpConnection (times, counts) ─► aiohttp's RequestHandler ─► middleware: begins and ends a request

The connection forwards every callback of asyncio to aiohttp, unless a limit closed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from aiohttp import StreamReader, hdrs, web

from ...errors import CityError
from .connection_timer import ConnectionTimer
from .held_bytes import HeldBytes, Stage, head_size
from .raw_responses import TOO_MANY_CONNECTIONS, raw_problem
from .request_bytes import RequestBytes


class ConnectionOwner(Protocol):
    """The listener's side of a connection, implemented by ``TcpConnections``."""

    @property
    def request_bytes(self) -> RequestBytes: ...

    def now_s(self) -> float: ...

    def opened(self, connection: TcpConnection) -> bool:
        """Count a new connection; return False if a limit forbids it."""

    def closed(self, connection: TcpConnection) -> None:
        """Stop counting a connection. Idempotent."""

    def received(self, connection: TcpConnection, size: int) -> bool:
        """Count received bytes; return False if the connection was closed because of them."""

    def response_read(self, connection: TcpConnection) -> None:
        """Stop counting the response of a connection as open."""


class TcpConnection(asyncio.Protocol):
    """One connection of a listener.

    Args:
        owner: counts the connection.
        inner: the protocol of aiohttp.
    """

    __slots__ = (
        "_drained",
        "_inner",
        "_is_over",
        "_owner",
        "body",
        "client",
        "close_websocket",
        "handler_timeout",
        "head_size",
        "held",
        "holder",
        "is_chunked",
        "is_counted",
        "on_lost",
        "peer",
        "refusal",
        "timer",
        "transport",
    )

    def __init__(self, owner: ConnectionOwner, inner: asyncio.Protocol) -> None:
        self._owner = owner
        self._inner = inner
        self._drained: asyncio.Future[None] | None = None
        self._is_over = False
        """Whether ``inner`` gets no further callbacks: the connection is lost, or was refused when it opened."""
        self.transport: asyncio.Transport
        self.timer = ConnectionTimer()
        self.is_counted = False
        """Whether the listener counts the connection: from its opening until it is closed."""
        self.peer: str | None = None
        """The address that the connection is counted for; None for trusted proxies and for loopback."""
        self.client: str | None = None
        """The address that the request in progress, or the last one, is counted for."""
        self.held = HeldBytes()
        self.holder: str | None = None
        """The address that the held bytes are counted for."""
        self.head_size = 0
        """The size in bytes of the head of the request in progress or the last one."""
        self.body: StreamReader | None = None
        """The body of the request in progress; of the last one while aiohttp discards the incomplete rest of it."""
        self.is_chunked = False
        """Whether that body has a ``Transfer-Encoding``."""
        self.refusal: CityError | None = None
        """Why the request in progress, or the one whose head is arriving, is refused: its bytes are no longer held."""
        self.handler_timeout: asyncio.Timeout | None = None
        """The timeout around the handler of the request in progress, by which a refusal interrupts it."""
        self.close_websocket: Callable[[CityError], None] | None = None
        """Closes the WebSocket of the connection with an error; None without a WebSocket."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is lost during the request in progress."""

    # --- callbacks of asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # the one of uvloop is not a subclass
        if not self._owner.opened(self):
            self._is_over = True
            self.transport.write(TOO_MANY_CONNECTIONS)
            transport.close()
            return
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self.timer.is_head_expected:
            self.timer.head_begun(self._owner.now_s())
        if self._owner.received(self, len(data)):
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._is_over else self._inner.eof_received()

    def pause_writing(self) -> None:
        self._drained = self._drained or asyncio.get_running_loop().create_future()
        if not self._is_over:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._wake()
        if not self._is_over:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wake()
        if self._is_over:
            return
        self._is_over = True
        self._owner.closed(self)
        self._inner.connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    # --- closing ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection after its write buffer is sent."""
        self._owner.closed(self)
        self.transport.close()

    def abort(self) -> None:
        """Close the connection and discard its write buffer."""
        self._owner.closed(self)
        self.transport.abort()

    def refuse(self, error: CityError) -> None:
        """Release the held bytes and end the request with ``error``, if a response is still possible."""
        self._release(self.held.clear)
        if self.close_websocket is not None:
            self.close_websocket(error)
        elif not self.timer.is_busy:
            self.refusal = error
            self.transport.write(raw_problem(error))
            self.close()
        elif not self.is_body_complete and self.handler_timeout is not None:
            self.refusal = error
            self.handler_timeout.reschedule(self._owner.now_s())
        else:
            self.abort()

    # --- requests ---------------------------------------------------------------------------------------------

    def set_request(self, request: web.Request, client: str | None) -> None:
        """Set the request in progress.

        Args:
            request: the request, of which aiohttp has parsed the head.
            client: the address that it is counted for.
        """
        self.client = client
        self.head_size = head_size(request.method, request.raw_path, request.raw_headers)
        self.body, self.is_chunked = request.content, hdrs.TRANSFER_ENCODING in request.headers
        if self.is_counted:
            self.refusal = None

    def end_request(self) -> None:
        self.timer.request_ended(self._owner.now_s())
        self.close_websocket = self.on_lost = None
        size = self.head_size + (self.body.total_bytes if self.body is not None else 0)
        self._release(lambda: self.held.end_request(size, is_chunked=self.is_chunked))
        if self.is_body_complete:
            self.body = None

    def becomes_stream(self) -> None:
        """Stop counting an open response: ``ConnectionLimiter`` counts WebSockets and event streams instead."""
        self._owner.response_read(self)

    @property
    def is_body_complete(self) -> bool:
        return self.body is None or self.body.is_eof()

    @property
    def stage(self) -> Stage:
        if not self.timer.is_busy:
            return Stage.HEAD
        return Stage.COMPLETE if self.is_body_complete else Stage.BODY

    @property
    def is_discarding(self) -> bool:
        """Whether arriving bytes are discarded: the rest of a body that its handler did not read."""
        return not self.is_body_complete and (not self.timer.is_busy or self.refusal is not None)

    @property
    def is_refusable(self) -> bool:
        """Whether a refusal is safe. False for a complete request in a handler, which may have changed something already."""
        is_in_handler = self.timer.is_busy and self.is_body_complete
        return not is_in_handler or self.close_websocket is not None or self.held.pipelined > 0

    def body_forwarded(self, size: int) -> None:
        """Release ``size`` bytes of the body, which were forwarded."""
        self._release(lambda: self.held.body_forwarded(size))

    def message_taken(self, size: int, mark: int | None) -> None:
        """Release a WebSocket message; see ``HeldBytes.message_taken``."""
        self._release(lambda: self.held.message_taken(size, mark, self.head_size))

    def _release(self, change: Callable[[], None]) -> None:
        """Call ``change``, which reduces the held bytes, and update the totals of the listener."""
        if not self.is_counted:
            return
        before = self.held.size
        change()
        self._owner.request_bytes.change(self.holder, self.held.size - before)

    # --- back-pressure ----------------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether the write buffer is above the high-water mark of the transport."""
        return self._drained is not None

    async def drained(self) -> None:
        """Wait until the write buffer is below the low-water mark.

        Raises:
            ConnectionResetError: the connection is closed.
        """
        while self._drained is not None and not self.transport.is_closing():
            await asyncio.shield(self._drained)
        if self.transport.is_closing():
            raise ConnectionResetError("the peer has disconnected")

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)


def connection_of(request: web.Request) -> TcpConnection | None:
    """Return the connection of a request; None if it is closed, or the listener has no ``TcpConnections``."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, TcpConnection) else None
