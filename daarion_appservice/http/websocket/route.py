"""The route of a WebSocket: authentication, keep-alive, reading of client events, closing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import ClientConnectionError, WSCloseCode, WSMessage, WSMsgType, web

from ...errors import CityError, InvalidInput, TooManyRequests
from ..auth.authenticator import CityAuthenticator, TokenEnded
from ..auth.origins import Origins
from ..auth.principals import Access, Anonymous, Principal, check
from ..database_errors import translate_database_errors
from ..limits.connections import ConnectionLease
from ..limits.leaky_bucket import LeakyBucket
from ..limits.metrics import count_hit
from ..limits.tcp_connection import TcpConnection, connection_of
from ..metrics import StreamMetrics
from .frames import PING, frame_size
from .session import WebSocketSession, parse_event
from .socket_writer import CLOSE_TIMEOUT_S, SocketWriter, close_code, error_frame

_PING_S: Final = 25.0
"""How long a client may be silent before it gets a ping."""
_PONG_S: Final = 12.5
"""How long the client may take for any message after the ping; then the connection is aborted."""
_ENDS: Final = {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    """One client on an open WebSocket, with its session and limits."""

    request: web.Request
    socket: web.WebSocketResponse
    connection: TcpConnection
    writer: SocketWriter
    session: WebSocketSession
    lease: ConnectionLease
    event_bucket: LeakyBucket | None

    async def next_message(self, timeout_s: float) -> WSMessage | None:
        """Return the next message, or None after ``timeout_s`` seconds without one; respond to pings in between.

        Raises:
            TooManyRequests: the client keeps sending events above its rate.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (message := await self._next_allowed_message()).type is WSMsgType.PING:
                    await self.socket.pong(message.data)
        except TimeoutError:
            return None
        return message

    async def _next_allowed_message(self) -> WSMessage:
        """Return the next message within the rate limit; respond to all others with an error event."""
        while True:
            message = await self._next_message()
            if self.event_bucket is None or message.type in _ENDS or not (wait_s := self.event_bucket.add()):
                return message
            count_hit("socket_events")
            error = TooManyRequests("too many events on this WebSocket", retry_after_s=wait_s)
            if self.event_bucket.is_exhausted:
                raise error
            self.writer.write(error_frame(error))

    async def _next_message(self) -> WSMessage:
        """Return the next message of any kind, and release its bytes."""
        mark = self.connection.held.received
        message = await self.socket.receive()
        is_data = message.type in {WSMsgType.TEXT, WSMsgType.BINARY}
        self.connection.message_taken(frame_size(message.data), mark if is_data else None)
        return message


class SocketRoute(ABC):
    """The route of a WebSocket, which creates a session for each connection."""

    def __init__(
        self,
        path: str,
        metrics: StreamMetrics,
        authenticator: CityAuthenticator,
        origins: Origins,
        *,
        anonymous_read: bool,
        max_message_bytes: int,
    ) -> None:
        self._path = path
        self._metrics = metrics
        self._authenticator = authenticator
        self._origins = origins
        self._anonymous_read = anonymous_read
        self._max_message_bytes = max_message_bytes
        self._open: set[_Client] = set()

    @abstractmethod
    async def open_session(self, request: web.Request, principal: Principal, since: int | None) -> WebSocketSession:
        """Create the session of a new client, before the upgrade.

        Raises:
            CityError: the path or query is invalid, or the client may not connect.
        """

    def may_read(self, principal: Principal) -> bool:
        return self._anonymous_read or not isinstance(principal, Anonymous)

    def install(self, app: web.Application) -> None:
        app.router.add_get(self._path, self._handle)
        app.on_shutdown.append(self._close_all)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._origins.check(request)
        self._origins.check_upgrade(request)
        principal = await self._authenticator.stream_principal(request)
        with self._authenticator.limits.open_connection(request, principal) as lease:
            session = await self.open_session(request, principal, _since(request))
            # aiohttp's heartbeat pings all sockets of a second at once (measured: 10,000 block the event loop for 0.3 s).
            socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=self._max_message_bytes)
            await socket.prepare(request)
            if (connection := connection_of(request)) is not None:
                writer = SocketWriter(connection, self._metrics)
                event_bucket = self._authenticator.limits.event_bucket()
                connection.close_websocket = writer.disconnect
                await self._serve(_Client(request, socket, connection, writer, session, lease, event_bucket))
        return socket

    async def _serve(self, client: _Client) -> None:
        self._open.add(client)
        self._metrics.open += 1
        try:
            with translate_database_errors():
                await self._run(client)
        except CityError as error:
            # After the upgrade there is no HTTP status: the error is an event and a close code.
            client.writer.write(error_frame(error))
            await _close(client, close_code(error), error.code)
        except (ConnectionError, ClientConnectionError):
            log.debug("client_disconnected")
        except Exception:
            await _close(client, WSCloseCode.INTERNAL_ERROR, "internal_error")
            raise
        finally:
            client.session.stop()
            self._open.discard(client)
            self._metrics.open -= 1

    async def _run(self, client: _Client) -> None:
        session, writer = client.session, client.writer
        if not self.may_read(session.principal) or session.must_authenticate:
            # Where reading needs a token, the first event must be `auth`.
            first = await client.next_message(_PING_S)
            if first is not None and first.type is WSMsgType.TEXT:
                await self._handle_event(client, parse_event(first.data))
            check(Access.READERS, session.principal, anonymous_read=False)
        await session.start(writer)
        is_pinged = False
        while not client.socket.closed:
            message = await client.next_message(_PONG_S if is_pinged else _PING_S)
            if message is not None and message.type is WSMsgType.TEXT:
                self._metrics.received_messages += 1
                await self._handle_text(client, message.data)
            # After every message, so that neither pongs nor repeated wrong tokens delay the check.
            session.check_token()
            if message is None:
                if is_pinged:
                    writer.abort()
                else:
                    writer.write(PING)
            is_pinged = message is None

    async def _handle_text(self, client: _Client, text: str) -> None:
        event: dict[str, Any] = {}
        try:
            event = parse_event(text)
            with translate_database_errors():
                await self._handle_event(client, event)
        except TokenEnded:
            raise
        except CityError as error:
            client.writer.write(error_frame(error, event.get("client_id")))

    async def _handle_event(self, client: _Client, event: dict[str, Any]) -> None:
        """Handle one event of the client. Raises TokenEnded if its token is no longer valid."""
        name, session, limits = event.get("event"), client.session, self._authenticator.limits
        if name == "auth":
            principal = await self._authenticator.authenticate(client.request, str(event.get("token", "")))
            limits.move_connection(client.lease, client.request, principal)
            session.principal = principal
            await session.principal_changed()
        else:
            session.check_token()
            await limits.count_event(name, session.principal)
            await session.handle_event(event)

    async def _close_all(self, _app: web.Application) -> None:
        await asyncio.gather(*(_close(client, WSCloseCode.GOING_AWAY, "the server restarts") for client in self._open))


async def _close(client: _Client, code: WSCloseCode, reason: str) -> None:
    """Stop the events and do the closing handshake; abort the connection if the client does not respond in time."""
    client.session.stop()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.socket.close(code=code, message=reason.encode())
    except TimeoutError:
        client.writer.abort()


def _since(request: web.Request) -> int | None:
    value = request.query.get("since")
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 18:
        raise InvalidInput("invalid", "since: must be the sequence number of a frame", status=422)
    return int(value)
