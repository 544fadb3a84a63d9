"""Limits the TCP connections of a listener: their number, their time, and the unsent bytes buffered for their peers.

aiohttp has no timeout for the head of a request, none for a response that the peer does not read, and no limit of connections.
Each connection therefore is an ``asyncio.Protocol`` around the one of aiohttp:

    transport ─► Connection (deadlines, counts) ─► aiohttp's RequestHandler ─► middleware: begins and ends a response

A timer checks all connections once a second; a request costs two method calls. The size of a response is limited where it is
made (pages and replays have a maximum in bytes); this module limits peers that read nothing, or too slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import structlog
from aiohttp import StreamReader, hdrs, web
from aiohttp.typedefs import Middleware

from ...errors import CityError, InvalidInput, TooManyRequests
from ...json_encoding import encode_json
from .addresses import Addresses
from .request_bytes import MAX_HEAD_BYTES, RETRY_AFTER_S, Excess, HeldBytes, RequestBytes, Stage, head_size
from .tcp_info import bytes_acknowledged

_SWEEP_S: Final = 1.0
_WARN_EVERY_S: Final = 60.0
_SCARCE: Final = 0.9
"""The share of the maximum number of connections above which a warning is logged."""
_COME_BACK_S: Final = 5.0

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: 126\r\n\r\n"
    b'{"type":"urn:daarion:problem:too_many_connections","title":"Service Unavailable","status":503,'
    b'"code":"too_many_connections"}  '
)
_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

log = structlog.get_logger()

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The time limits of a connection in seconds, and the lowest rate of reading."""

    head_s: float = 30.0
    """From the first byte of a request, or from the connect, until the head is complete."""
    idle_s: float = 180.0
    """Between two requests of a connection. Longer than in the pools of usual proxies and of Synapse (120 s)."""
    stalled_s: float = 30.0
    """How long the write buffer may wait for a peer that reads nothing."""
    slowest_bytes_per_s: int = 4096
    """The rate at which the peer must read a finished response, after ``stalled_s``."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits of a listener: numbers of connections and responses, and bytes. 0: no limit."""

    connections: int = 0
    per_address: int = 0
    answers_per_address: int = 0
    unread_bytes_per_address: int = 0
    unread_bytes: int = 0
    request_bytes_per_address: int = 0
    request_bytes: int = 0


class Connection(asyncio.Protocol):
    """One connection of a listener, which forwards the callbacks of asyncio to ``inner``, the protocol of aiohttp."""

    __slots__ = (
        "_connections",
        "_drained",
        "_inner",
        "acknowledged",
        "body",
        "client",
        "has_asked",
        "head_size",
        "held",
        "holder",
        "idle_since_s",
        "interruption",
        "is_busy",
        "is_chunked",
        "is_over",
        "last_size",
        "peer",
        "put_out",
        "reading_since_s",
        "refusal",
        "transport",
        "unread_until_s",
        "written_s",
    )

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner
        self._drained: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport
        self.peer: str | None = None
        """The address that the connection is counted for; None for trusted proxies and for loopback."""
        self.client: str | None = None
        """The address that the request in progress, or the last one, is counted for."""
        self.has_asked = False
        """Whether the connection has had a request."""
        self.is_busy = False
        """Whether a handler works on a request."""
        self.is_over = False
        self.idle_since_s = 0.0
        self.reading_since_s: float | None = None
        """When the first byte of an incomplete head arrived."""
        self.last_size = 0
        """The bytes in the write buffer at the last check."""
        self.acknowledged: int | None = None
        """The bytes that the peer had acknowledged at the last check."""
        self.written_s = 0.0
        """When the peer last read something."""
        self.unread_until_s: float | None = None
        """The deadline for the peer to read a finished response."""
        self.held = HeldBytes()
        self.holder: str | None = None
        """The address that the held bytes are counted for."""
        self.head_size = 0
        """The size in bytes of the request in progress or the last one."""
        self.body: StreamReader | None = None
        """The body of the request in progress; of the last one while aiohttp discards the incomplete rest of it."""
        self.is_chunked = False
        """Whether that body has a ``Transfer-Encoding``."""
        self.refusal: CityError | None = None
        """Why the request in progress, or the one whose head is arriving, is refused: its bytes are no longer held."""
        self.interruption: asyncio.Timeout | None = None
        """The timeout around the handler of the request in progress."""
        self.put_out: Callable[[CityError], None] | None = None
        """Closes a WebSocket with an error."""

    # --- callbacks of asyncio -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # the one of uvloop is no subclass
        if not self._connections.added(self):
            self.is_over = True
            self.transport.write(_BUSY)
            transport.close()
            return
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        if not self.is_busy and self.reading_since_s is None:
            self.reading_since_s = self._connections.now_s()
        if self._connections.received(self, len(data)):
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self.is_over else self._inner.eof_received()

    def pause_writing(self) -> None:
        self._drained = self._drained or asyncio.get_running_loop().create_future()
        if not self.is_over:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._wake()
        if not self.is_over:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wake()
        if self.is_over:
            return
        self.is_over = True
        self._connections.removed(self)
        self._inner.connection_lost(exc)

    def becomes_stream(self) -> None:
        """Stop counting an open response: a WebSocket or an event stream is counted by ``ConnectionLimiter`` instead."""
        self._connections.taken(self)

    # --- bytes of requests ------------------------------------------------------------------------------------

    @property
    def is_body_complete(self) -> bool:
        return self.body is None or self.body.is_eof()

    @property
    def stage(self) -> Stage:
        if not self.is_busy:
            return Stage.HEAD
        return Stage.COMPLETE if self.is_body_complete else Stage.BODY

    @property
    def is_discarding(self) -> bool:
        """Whether arriving bytes are discarded: the rest of a body that its handler did not read."""
        return not self.is_body_complete and (not self.is_busy or self.refusal is not None)

    @property
    def is_refusable(self) -> bool:
        """Whether a refusal is safe. False for a complete request in a handler, which may have changed something already."""
        return not self.is_busy or not self.is_body_complete or self.put_out is not None or self.held.later > 0

    def took(self, size: int) -> None:
        """Release ``size`` bytes of the body, which were forwarded."""
        self._connections.release(self, lambda: self.held.take(size))

    def took_message(self, size: int, mark: int | None) -> None:
        """Release a WebSocket message; see ``HeldBytes.message_taken``."""
        self._connections.release(self, lambda: self.held.message_taken(size, mark, self.head_size))

    # --- back-pressure --------------------------------------------------------------------------------------

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
            raise ConnectionResetError("the peer has left")

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)


def connection_of(request: web.Request) -> Connection | None:
    """Return the connection of a request; None if it is closed, or the listener has no ``Connections``."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, Connection) else None


def _refused_head(error: CityError) -> bytes:
    """Return the response to a request whose head is incomplete, as bytes of HTTP/1.1."""
    phrase = HTTPStatus(error.status).phrase
    problem = {
        "type": f"urn:daarion:problem:{error.code}",
        "title": phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    body = encode_json(problem)
    head = (
        f"HTTP/1.1 {error.status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Retry-After: {RETRY_AFTER_S}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connections:
    """The connections of one listener, and the factory that wraps the protocols of aiohttp's server.

    Args:
        name: the name of the listener, for log and metrics.
        caps: the limits of the listener.
        addresses: resolves the client addresses.
        deadlines: the time limits of each connection.
    """

    def __init__(
        self,
        name: str,
        caps: Caps,
        addresses: Addresses,
        deadlines: Deadlines = Deadlines(),
    ) -> None:
        self._name = name
        self._caps = caps
        self._addresses = addresses
        self._deadlines = deadlines
        self._make: Callable[[], asyncio.Protocol] | None = None
        self.open: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        """The connections without a request, the longest idle first."""
        self._peers: dict[str, int] = {}
        self._answers: dict[str, set[Connection]] = {}
        """By client address: the connections whose response is in progress or not yet read by the peer."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._warned_s: dict[str, float] = {}
        self.request_bytes = RequestBytes(name, per_address=caps.request_bytes_per_address, in_all=caps.request_bytes)
        self._loop: asyncio.AbstractEventLoop

    def wrap(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], Connection]:
        """Return the protocol factory for ``loop.create_server``, and start the periodic check."""
        self._loop = asyncio.get_running_loop()
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        return lambda: Connection(self, make())

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()

    def now_s(self) -> float:
        return self._loop.time()

    def __len__(self) -> int:
        return len(self.open)

    @property
    def middleware(self) -> Middleware:
        """The outermost middleware, which notes when a request begins and when its handler ends."""

        @web.middleware
        async def counted(request: web.Request, handler: Handle) -> web.StreamResponse:
            connection = connection_of(request)
            if connection is None:
                return await handler(request)
            self._begin(connection, request)
            try:
                return await handler(request)
            finally:
                self._end(connection)

        return counted

    @property
    def bounded(self) -> Middleware:
        """The middleware that refuses requests of a client with too many open responses or request bytes.

        It runs inside the error middleware.
        """

        @web.middleware
        async def bounded(request: web.Request, handler: Handle) -> web.StreamResponse:
            connection = connection_of(request)
            if connection is None:
                return await handler(request)
            self._check(connection)
            try:
                async with asyncio.timeout(None) as connection.interruption:
                    return await handler(request)
            except TimeoutError:
                if connection.refusal is None:
                    raise
            finally:
                connection.interruption = None
            # After the `except` block: else TimeoutError is the context of this error, and its traceback holds the frame that
            # has read the body, as long as the connection is open.
            raise connection.refusal

        return bounded

    def _check(self, connection: Connection) -> None:
        if connection.refusal is not None:
            # The refusal came after the head was complete and before its handler began.
            raise connection.refusal
        if connection.head_size > MAX_HEAD_BYTES:
            raise InvalidInput("head_too_large", f"a head may have {MAX_HEAD_BYTES} bytes at most", status=431)
        if connection.client is None:
            return
        cap = self._caps.answers_per_address
        if cap and len(self._answers.get(connection.client, ())) > cap:
            raise TooManyRequests(
                f"too many answers are open: at most {cap} for one address", retry_after_s=_COME_BACK_S
            )

    # --- opened and closed connections ------------------------------------------------------------------------

    def added(self, connection: Connection) -> bool:
        """Count a new connection; return False if a limit forbids it."""
        caps = self._caps
        connection.peer = self._addresses.of_peer(connection.transport.get_extra_info("peername"))
        if connection.peer is not None and 0 < caps.per_address <= self._peers.get(connection.peer, 0):
            self._warn("connections_of_one_address", address=connection.peer)
            return False
        if caps.connections and len(self.open) >= caps.connections * _SCARCE:
            self._warn("connections_scarce", help="raise LimitNOFILE, or limits.connections; see docs/operations.md")
        if 0 < caps.connections <= len(self.open) and not self._make_room():
            return False
        connection.idle_since_s = self.now_s()
        connection.holder = connection.peer
        self.open[connection] = None
        self._idle[connection] = None
        if connection.peer is not None:
            self._peers[connection.peer] = self._peers.get(connection.peer, 0) + 1
        return True

    def removed(self, connection: Connection) -> None:
        if connection not in self.open:
            return
        del self.open[connection]
        self._idle.pop(connection, None)
        self.taken(connection)
        self.request_bytes.change(connection.holder, -connection.held.size)
        connection.held.clear()
        if connection.peer is not None:
            self._peers[connection.peer] -= 1
            if not self._peers[connection.peer]:
                del self._peers[connection.peer]

    def _make_room(self) -> bool:
        """Abort the longest idle connection, so that idle connections do not keep new clients out."""
        longest = next(iter(self._idle), None)
        if longest is None:
            return False
        self._cut(longest)
        return True

    def _cut(self, connection: Connection) -> None:
        self.removed(connection)
        connection.transport.abort()

    # --- requests -----------------------------------------------------------------------------------------------

    def _begin(self, connection: Connection, request: web.Request) -> None:
        self.taken(connection)
        client = self._addresses.of(request)
        connection.head_size = head_size(request.method, request.raw_path, request.raw_headers)
        connection.body, connection.is_chunked = request.content, hdrs.TRANSFER_ENCODING in request.headers
        if connection in self.open:
            connection.refusal = None
        self._move(connection, client)
        self._idle.pop(connection, None)
        connection.is_busy, connection.has_asked, connection.client = True, True, client
        connection.reading_since_s = connection.unread_until_s = None
        if client is not None and connection in self.open:
            self._answers.setdefault(client, set()).add(connection)

    def _end(self, connection: Connection) -> None:
        connection.is_busy, connection.idle_since_s, connection.put_out = False, self.now_s(), None
        body = connection.body
        size = connection.head_size + (body.total_bytes if body is not None else 0)
        self.release(connection, lambda: connection.held.end_request(size, is_chunked=connection.is_chunked))
        if connection.is_body_complete:
            connection.body = None
        if connection in self.open:
            self._idle[connection] = None
        if connection.client is not None:
            # aiohttp writes the response right after the handler returns.
            self._loop.call_soon(self._look, connection)

    def _look(self, connection: Connection) -> None:
        is_open = connection in self.open
        if is_open and not connection.is_busy and not connection.transport.get_write_buffer_size():
            self.taken(connection)

    def taken(self, connection: Connection) -> None:
        """Stop counting the response of a connection as open: the peer has read it, or the connection has closed."""
        if (client := connection.client) is None:
            return
        if answers := self._answers.get(client):
            answers.discard(connection)
            if not answers:
                del self._answers[client]

    # --- bytes of requests --------------------------------------------------------------------------------------

    def received(self, connection: Connection, size: int) -> bool:
        """Count received bytes, and refuse the largest requests above the budgets.

        Returns:
            False if ``connection`` itself was closed.
        """
        if connection.is_discarding:
            return True
        connection.held.add(size, connection.stage)
        self.request_bytes.change(connection.holder, size)
        if excess := self.request_bytes.excess(connection.holder):
            self._refuse_largest(excess)
        return connection in self.open

    def release(self, connection: Connection, change: Callable[[], None]) -> None:
        """Call ``change``, which reduces the held bytes of the connection, and update the totals."""
        if connection not in self.open:
            return
        before = connection.held.size
        change()
        self.request_bytes.change(connection.holder, connection.held.size - before)

    def _move(self, connection: Connection, holder: str | None) -> None:
        """Count the held bytes for another address: the one that a proxy names in the head."""
        if holder == connection.holder:
            return
        self.request_bytes.change(connection.holder, -connection.held.size)
        connection.holder = holder
        self.request_bytes.change(holder, connection.held.size)
        if excess := self.request_bytes.excess(holder):
            self._refuse_largest(excess)

    def _refuse_largest(self, excess: Excess) -> None:
        candidates = [
            each for each in self.open if each.holder == excess.holder and each.held.size and each.is_refusable
        ]
        left = excess.bytes
        self._warn("request_bytes", address=excess.holder, bytes=self.request_bytes.of(excess.holder))
        for each in sorted(candidates, key=lambda each: each.held.size, reverse=True):
            if left <= 0:
                break
            left -= each.held.size
            self._refuse(each, excess.error)
            self.request_bytes.refused(excess)

    def _refuse(self, connection: Connection, error: CityError) -> None:
        self.release(connection, connection.held.clear)
        if connection.put_out is not None:
            connection.put_out(error)
        elif not connection.is_busy:
            connection.refusal = error
            connection.transport.write(_refused_head(error))
            self._finish(connection)
        elif not connection.is_body_complete and connection.interruption is not None:
            connection.refusal = error
            connection.interruption.reschedule(self.now_s())
        else:
            self._cut(connection)

    # --- the periodic check -------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        now_s = self.now_s()
        waiting: list[tuple[int, Connection]] = []
        for connection in list(self.open):
            size = connection.transport.get_write_buffer_size()
            if size:
                if self._takes_too_long(connection, size, now_s):
                    log.debug("answer_not_taken", listener=self._name, address=connection.peer, bytes=size)
                    self._cut(connection)
                else:
                    waiting.append((size, connection))
            else:
                self._nothing_waits(connection, now_s)
        if waiting:
            self._cut_largest(waiting)

    def _takes_too_long(self, connection: Connection, size: int, now_s: float) -> bool:
        deadlines = self._deadlines
        acknowledged = bytes_acknowledged(connection.transport)
        # The kernel accepts more bytes only after many were acknowledged: 128 KiB take half a minute at 4 KiB/s.
        if not connection.last_size or size < connection.last_size or acknowledged != connection.acknowledged:
            connection.written_s = now_s
        connection.last_size, connection.acknowledged = size, acknowledged
        if connection.is_busy:
            connection.unread_until_s = None
        else:
            connection.idle_since_s = now_s
            if connection.unread_until_s is None:
                connection.unread_until_s = now_s + deadlines.stalled_s + size / deadlines.slowest_bytes_per_s
            if now_s > connection.unread_until_s:
                return True
        return now_s - connection.written_s > deadlines.stalled_s

    def _nothing_waits(self, connection: Connection, now_s: float) -> None:
        connection.last_size, connection.unread_until_s = 0, None
        if connection.is_busy:
            return
        self.taken(connection)
        if connection.reading_since_s is not None:
            if now_s - connection.reading_since_s > self._deadlines.head_s:
                connection.transport.write(_TIMED_OUT)
                self._finish(connection)
        elif now_s - connection.idle_since_s > self._idle_s(connection):
            self._finish(connection)

    def _idle_s(self, connection: Connection) -> float:
        """Return the idle limit; a connection that never had a request gets the time of a head."""
        return self._deadlines.idle_s if connection.has_asked else self._deadlines.head_s

    def _finish(self, connection: Connection) -> None:
        self.removed(connection)
        connection.transport.close()

    def _cut_largest(self, waiting: list[tuple[int, Connection]]) -> None:
        """Abort the connections with the largest write buffers until each address and the total are within the limits."""
        caps = self._caps
        by_client: dict[str, int] = {}
        total = 0
        for size, connection in waiting:
            total += size
            if connection.client is not None:
                by_client[connection.client] = by_client.get(connection.client, 0) + size
        per_client = caps.unread_bytes_per_address or total
        if total <= (caps.unread_bytes or total) and max(by_client.values(), default=0) <= per_client:
            return
        for size, connection in sorted(waiting, key=lambda each: each[0], reverse=True):
            client = connection.client
            if (client is not None and by_client[client] > per_client) or 0 < caps.unread_bytes < total:
                self._warn("unread_bytes", address=client, bytes=size)
                total -= size
                if client is not None:
                    by_client[client] -= size
                self._cut(connection)

    def _warn(self, event: str, **more: object) -> None:
        now_s = self.now_s()
        if now_s - self._warned_s.get(event, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned_s[event] = now_s
            log.warning(event, listener=self._name, open=len(self.open), **more)
