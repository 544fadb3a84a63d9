"""Limits the TCP connections of a listener: their number, their times, and the bytes that they hold in memory.

A timer checks all connections once a second; a request costs two method calls. The size of a response is limited where it is
made (pages and replays have a maximum in bytes); this module limits peers that read nothing, or too slowly.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from ...errors import InvalidInput
from ...log_throttle import LogThrottle
from .addresses import Addresses
from .connection_timer import ConnectionTimeouts, Expiry
from .held_bytes import MAX_HEAD_BYTES
from .listener_limits import ListenerLimits
from .metrics import CONNECTIONS, SLOW_RESPONSE, count_hit
from .open_responses import OpenResponses
from .raw_responses import REQUEST_TIMEOUT
from .request_bytes import Excess, RequestBytes
from .tcp_connection import TcpConnection
from .tcp_info import bytes_acknowledged
from .write_buffers import WriteBuffer, buffers_to_abort

_CHECK_S: Final = 1.0
_CHECKED_AT_ONCE: Final = 1000
"""Connections that are checked before the event loop runs other callbacks: about 2 ms."""
_SCARCE: Final = 0.9
"""The share of the maximum number of connections above which a warning is logged."""

log = structlog.get_logger()


class TcpConnections:
    """The connections of one listener, and the factory that wraps the protocols of aiohttp's server.

    Args:
        name: the name of the listener, for log and metrics.
        limits: the limits of the listener.
        addresses: resolves the client addresses.
        timeouts: the time limits of each connection.
    """

    def __init__(
        self,
        name: str,
        limits: ListenerLimits,
        addresses: Addresses,
        timeouts: ConnectionTimeouts | None = None,
    ) -> None:
        self._name = name
        self._limits = limits
        self._addresses = addresses
        self._timeouts = timeouts or ConnectionTimeouts()
        self.open: dict[TcpConnection, None] = {}
        self._idle: dict[TcpConnection, None] = {}
        """The connections without a request, the longest idle first."""
        self._by_peer: Counter[str] = Counter()
        self._open_responses = OpenResponses(limits.responses_per_address)
        self.request_bytes = RequestBytes(
            name, per_address=limits.request_bytes_per_address, in_all=limits.request_bytes
        )
        CONNECTIONS.labels(name).set_function(lambda: len(self.open))
        self._loop: asyncio.AbstractEventLoop
        self._next_check: asyncio.TimerHandle | None = None
        self._log_throttle = LogThrottle()

    def wrap(self, create_inner: Callable[[], asyncio.Protocol]) -> Callable[[], TcpConnection]:
        """Return the protocol factory for ``loop.create_server``, and start the periodic check."""
        self._loop = asyncio.get_running_loop()
        self._next_check = self._loop.call_later(_CHECK_S, self._check_all)
        return lambda: TcpConnection(self, create_inner())

    def close(self) -> None:
        if self._next_check is not None:
            self._next_check.cancel()

    def now_s(self) -> float:
        return self._loop.time()

    def __len__(self) -> int:
        return len(self.open)

    # --- opened and closed connections ------------------------------------------------------------------------

    def opened(self, connection: TcpConnection) -> bool:
        """Count a new connection; return False if a limit forbids it."""
        limits = self._limits
        connection.peer = self._addresses.of_peer(connection.transport.get_extra_info("peername"))
        if connection.peer is not None and 0 < limits.connections_per_address <= self._by_peer[connection.peer]:
            self._warn("connections_of_one_address", address=connection.peer)
            count_hit("connections_per_address")
            return False
        if limits.connections and len(self.open) >= limits.connections * _SCARCE:
            self._warn(
                "connections_scarce", help="raise LimitNOFILE, or limits.connections; see docs/explanation/limits.md"
            )
        if 0 < limits.connections <= len(self.open) and not self._abort_longest_idle():
            count_hit("connections")
            return False
        connection.timer.opened(self.now_s())
        connection.holder = connection.peer
        connection.is_counted = True
        self.open[connection] = self._idle[connection] = None
        if connection.peer is not None:
            self._by_peer[connection.peer] += 1
        return True

    def closed(self, connection: TcpConnection) -> None:
        """Stop counting a connection. Idempotent."""
        if not connection.is_counted:
            return
        connection.is_counted = False
        del self.open[connection]
        self._idle.pop(connection, None)
        self.response_read(connection)
        self.request_bytes.change(connection.holder, -connection.held.size)
        connection.held.clear()
        if connection.peer is not None:
            self._by_peer[connection.peer] -= 1
            if not self._by_peer[connection.peer]:
                del self._by_peer[connection.peer]

    def _abort_longest_idle(self) -> bool:
        """Abort the longest idle connection, so that idle connections do not keep new clients out; False if none is idle."""
        longest = next(iter(self._idle), None)
        if longest is None:
            return False
        longest.abort()
        return True

    # --- requests ---------------------------------------------------------------------------------------------

    def begin_request(self, connection: TcpConnection, request: web.Request) -> None:
        self.response_read(connection)
        client = self._addresses.of(request)
        connection.set_request(request, client)
        self._count_for(connection, client)
        self._idle.pop(connection, None)
        # After the bytes were counted: a connection above a budget, whose handler has not begun, is refused as idle.
        connection.timer.request_begun()
        if client is not None and connection.is_counted:
            self._open_responses.add(client, connection)

    def end_request(self, connection: TcpConnection) -> None:
        connection.end_request()
        if connection.is_counted:
            self._idle[connection] = None
        if connection.client is not None:
            # aiohttp writes the response right after the handler returns.
            self._loop.call_soon(self._check_response, connection)

    def check_request(self, connection: TcpConnection) -> None:
        """Check the limits of a request before its handler runs.

        Raises:
            CityError: the request is refused.
        """
        if connection.refusal is not None:
            # The refusal came after the head was complete and before its handler began.
            raise connection.refusal
        if connection.head_size > MAX_HEAD_BYTES:
            raise InvalidInput("head_too_large", f"the request head exceeds {MAX_HEAD_BYTES} bytes", status=431)
        self._open_responses.check(connection.client)

    def response_read(self, connection: TcpConnection) -> None:
        """Stop counting the response of a connection as open: the peer has read it, or the connection has closed."""
        self._open_responses.discard(connection.client, connection)

    def _check_response(self, connection: TcpConnection) -> None:
        is_waiting = connection.is_counted and not connection.timer.is_busy
        if is_waiting and not connection.transport.get_write_buffer_size():
            self.response_read(connection)

    # --- bytes of requests ------------------------------------------------------------------------------------

    def received(self, connection: TcpConnection, size: int) -> bool:
        """Count received bytes, and refuse the largest requests above the budgets.

        Returns:
            False if ``connection`` itself was closed.
        """
        if connection.is_discarding:
            return True
        connection.held.add(size, connection.stage)
        self.request_bytes.change(connection.holder, size)
        self._enforce_budgets(connection.holder)
        return connection.is_counted

    def _count_for(self, connection: TcpConnection, holder: str | None) -> None:
        """Count the held bytes for another address: the one that a proxy names in the head."""
        if holder == connection.holder:
            return
        self.request_bytes.change(connection.holder, -connection.held.size)
        connection.holder = holder
        self.request_bytes.change(holder, connection.held.size)
        self._enforce_budgets(holder)

    def _enforce_budgets(self, holder: str | None) -> None:
        if excess := self.request_bytes.excess(holder):
            self._refuse_largest(excess)

    def _refuse_largest(self, excess: Excess) -> None:
        candidates = [
            each for each in self.open if each.holder == excess.holder and each.held.size and each.is_refusable
        ]
        remaining = excess.bytes
        self._warn("request_bytes", address=excess.holder, bytes=self.request_bytes.of(excess.holder))
        for each in sorted(candidates, key=lambda each: each.held.size, reverse=True):
            if remaining <= 0:
                break
            remaining -= each.held.size
            each.refuse(excess.error)
            count_hit(excess.limit)

    # --- the periodic check -----------------------------------------------------------------------------------

    def _check_all(self) -> None:
        self._next_check = self._loop.call_later(_CHECK_S, self._check_all)
        self._check_some(list(self.open), [])

    def _check_some(self, connections: list[TcpConnection], buffers: list[WriteBuffer[TcpConnection]]) -> None:
        """Check the last of ``connections``, then the others; ``buffers`` are the write buffers of those checked before."""
        now_s = self.now_s()
        now, rest = connections[-_CHECKED_AT_ONCE:], connections[:-_CHECKED_AT_ONCE]
        unsent = ((self._check(each, now_s), each) for each in now if each.is_counted)
        buffers += [WriteBuffer(size, each.client, each) for size, each in unsent if size]
        if rest:
            self._loop.call_soon(self._check_some, rest, buffers)
        else:
            self._abort_excess(buffers)

    def _abort_excess(self, buffers: list[WriteBuffer[TcpConnection]]) -> None:
        """Abort the connections with the largest write buffers until their sizes are within the limits."""
        limits = self._limits
        for buffer in buffers_to_abort(
            buffers, per_address=limits.unread_bytes_per_address, in_all=limits.unread_bytes
        ):
            self._warn("unread_bytes", address=buffer.client, bytes=buffer.size)
            SLOW_RESPONSE.inc()
            buffer.connection.abort()

    def _check(self, connection: TcpConnection, now_s: float) -> int:
        """Close a connection that has timed out; return the bytes in its write buffer, 0 if it was closed."""
        size = connection.transport.get_write_buffer_size()
        acknowledged = bytes_acknowledged(connection.transport) if size else None
        if not size and not connection.timer.is_busy:
            self.response_read(connection)
        match connection.timer.check(self._timeouts, now_s, size, acknowledged):
            case Expiry.UNREAD:
                SLOW_RESPONSE.inc()
                log.debug("response_not_read", listener=self._name, address=connection.peer, bytes=size)
                connection.abort()
                return 0
            case Expiry.HEAD:
                connection.transport.write(REQUEST_TIMEOUT)
                connection.close()
            case Expiry.IDLE:
                connection.close()
        return size

    def _warn(self, event: str, **fields: object) -> None:
        if self._log_throttle.allows(event):
            log.warning(event, listener=self._name, open=len(self.open), **fields)
