"""The common part of all WebSockets: authentication, keep-alive, reading of client events, writing of frames, closing.

Frames for many clients are encoded once and written directly to the transports. A client that reads too slowly is
disconnected with the close code 1013 (try again later), and receives the missed frames when it reconnects with ``?since=``.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from aiohttp import ClientConnectionError, WSCloseCode, WSMessage, WSMsgType, web
from pydantic import ValidationError

from ...errors import CityError, InvalidInput, TooManyRequests, Unavailable
from ...json_encoding import encode_json
from ..auth.authenticator import CityAuthenticator, TokenEnded
from ..auth.origins import Origins
from ..auth.principals import Access, Anonymous, Principal, check
from ..errors import translate_database_errors
from ..limits.buckets import TokenBucket
from ..limits.connections import ConnectionLease
from ..limits.tcp_connection import TcpConnection, connection_of
from ..routing import B, check_text
from .frames import PING, close_frame, frame_size, text_frame

_PING_S: Final = 25.0
"""How long a client may be silent before it gets a ping."""
_PONG_S: Final = 12.5
"""How long the client may take for any message after the ping; then the connection is aborted."""
_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""The limit of the write buffer of a slow client. Snapshots and replays wait for it to read instead (``SocketWriter.send``)."""
_LAST_WORDS_S: Final = 5.0
_ENDS: Final = {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}

log = structlog.get_logger()


class SocketWriter:
    """Writes frames to the transport of one WebSocket."""

    def __init__(self, connection: TcpConnection) -> None:
        self._connection = connection
        self._transport = connection.transport

    @property
    def is_behind(self) -> bool:
        """Whether the write buffer is above its high-water mark; ``drained`` waits until it is below the low-water mark."""
        return self._connection.is_behind

    def write(self, frames: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _MAX_BUFFER_BYTES:
            self._send_away()
            return
        self._transport.write(frames)

    def disconnect(self, error: CityError) -> None:
        """Send an error event and a close frame, and close the connection after the buffer is sent."""
        if not self._transport.is_closing():
            self._transport.write(_error_frame(error) + close_frame(_close_code(error), error.code))
            self._close()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Write frames one by one, each after the client has read most of those before.

        Raises:
            ConnectionResetError: the client has left.
        """
        for frame in frames:
            if self.is_behind:
                await self.drained()
            self.write(frame)

    async def drained(self) -> None:
        """Wait until the write buffer is below its low-water mark.

        Raises:
            ConnectionResetError: the client has left, or read nothing for too long.
        """
        await self._connection.drained()

    def leave(self) -> None:
        """Abort the connection and discard its write buffer."""
        self._transport.abort()

    def _send_away(self) -> None:
        self._transport.write(close_frame(WSCloseCode.TRY_AGAIN_LATER, "too slow: come back with since"))
        self._close()

    def _close(self) -> None:
        self._transport.close()
        # close() waits until the buffer is sent, which a stalled peer prevents.
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._transport.abort)


class WebSocketSession(ABC):
    """The session of one client on a WebSocket.

    Args:
        door: authenticates the tokens that the client sends.
        principal: the client's principal when it connected.
        since: the sequence number after which the client asks for a replay; None for a new client.
    """

    def __init__(self, door: CityAuthenticator, principal: Principal, since: int | None) -> None:
        self._door = door
        self.principal = principal
        self.since = since

    def check_token(self) -> None:
        """Raise TokenEnded if the client's token has expired or was revoked."""
        self._door.check_still_valid(self.principal)

    @abstractmethod
    async def take(self, event: dict[str, Any]) -> None:
        """Handle an event of the client.

        Raises:
            CityError: the event is invalid or refused.
        """

    @abstractmethod
    async def begin(self, reader: SocketWriter) -> None:
        """Send the missed events, then the live ones."""

    @property
    def must_sign_in(self) -> bool:
        """Whether the first event of the client must be ``auth``."""
        return False

    async def signed_in(self) -> None:
        """Handle a change of ``principal``, after the client sent another token."""
        return

    @abstractmethod
    def end(self) -> None:
        """Stop sending events. Idempotent."""


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One open WebSocket with its session and limits."""

    request: web.Request
    socket: web.WebSocketResponse
    connection: TcpConnection
    reader: SocketWriter
    conversation: WebSocketSession
    place: ConnectionLease
    pace: TokenBucket | None

    async def next_message(self, timeout_s: float) -> WSMessage | None:
        """Return the next message, or None after ``timeout_s`` seconds without one; answer pings in between.

        Raises:
            TooManyRequests: the client keeps sending events above its rate.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (message := await self._receive()).type is WSMsgType.PING:
                    await self.socket.pong(message.data)
        except TimeoutError:
            return None
        return message

    async def _receive(self) -> WSMessage:
        """Return the next message within the rate limit; respond to all others with an error event."""
        while True:
            message = await self._next()
            if self.pace is None or message.type in _ENDS or not (wait_s := self.pace.take()):
                return message
            error = TooManyRequests("too many events on this socket", retry_after_s=wait_s)
            if self.pace.is_exhausted:
                raise error
            self.reader.write(_error_frame(error))

    async def _next(self) -> WSMessage:
        """Return the next message of any kind, and release its bytes."""
        mark = self.connection.held.received
        message = await self.socket.receive()
        is_data = message.type in {WSMsgType.TEXT, WSMsgType.BINARY}
        self.connection.message_taken(frame_size(message.data), mark if is_data else None)
        return message


class SocketRoute(ABC):
    """The route of a WebSocket, which creates a session for each connection."""

    def __init__(
        self, path: str, door: CityAuthenticator, origins: Origins, *, anonymous_read: bool, max_message_bytes: int
    ) -> None:
        self._path = path
        self._door = door
        self._origins = origins
        self._anonymous_read = anonymous_read
        self._max_message_bytes = max_message_bytes
        self._open: set[_Visit] = set()

    @abstractmethod
    async def conversation(self, request: web.Request, principal: Principal, since: int | None) -> WebSocketSession:
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
        principal = await self._door.stream_principal(request)
        with self._door.limits.open_connection(request, principal) as place:
            conversation = await self.conversation(request, principal, _since(request))
            # aiohttp's heartbeat pings all sockets of a second at once (measured: 10,000 block the event loop for 0.3 s).
            socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=self._max_message_bytes)
            await socket.prepare(request)
            if (connection := connection_of(request)) is not None:
                reader, pace = SocketWriter(connection), self._door.limits.pace()
                connection.close_websocket = reader.disconnect
                await self._serve(_Visit(request, socket, connection, reader, conversation, place, pace))
        return socket

    async def _serve(self, visit: _Visit) -> None:
        self._open.add(visit)
        try:
            with translate_database_errors():
                await self._converse(visit)
        except CityError as error:
            # After the upgrade there is no HTTP status: the error is an event and a close code.
            visit.reader.write(_error_frame(error))
            await _close(visit, _close_code(error), error.code)
        except (ConnectionError, ClientConnectionError):
            log.debug("reader_left")
        except Exception:
            await _close(visit, WSCloseCode.INTERNAL_ERROR, "internal_error")
            raise
        finally:
            visit.conversation.end()
            self._open.discard(visit)

    async def _converse(self, visit: _Visit) -> None:
        conversation, reader = visit.conversation, visit.reader
        if not self.may_read(conversation.principal) or conversation.must_sign_in:
            # Where reading needs a token, the first event must be `auth`.
            first = await visit.next_message(_PING_S)
            if first is not None and first.type is WSMsgType.TEXT:
                await self._take(visit, _json_object(first.data))
            check(Access.READERS, conversation.principal, anonymous_read=False)
        await conversation.begin(reader)
        is_pinged = False
        while not visit.socket.closed:
            message = await visit.next_message(_PONG_S if is_pinged else _PING_S)
            if message is not None and message.type is WSMsgType.TEXT:
                await self._hear(visit, message.data)
            # After every message, so that neither pongs nor repeated wrong tokens delay the check.
            conversation.check_token()
            if message is None:
                if is_pinged:
                    reader.leave()
                else:
                    reader.write(PING)
            is_pinged = message is None

    async def _hear(self, visit: _Visit, text: str) -> None:
        event: dict[str, Any] = {}
        try:
            event = _json_object(text)
            with translate_database_errors():
                await self._take(visit, event)
        except TokenEnded:
            raise
        except CityError as error:
            visit.reader.write(_error_frame(error, event.get("client_id")))

    async def _take(self, visit: _Visit, event: dict[str, Any]) -> None:
        """Handle one event of the client. Raises TokenEnded if its token is no longer valid."""
        name, conversation, limits = event.get("event"), visit.conversation, self._door.limits
        if name == "auth":
            principal = await self._door.sign_in(visit.request, str(event.get("token", "")))
            limits.move(visit.place, visit.request, principal)
            conversation.principal = principal
            await conversation.signed_in()
        else:
            conversation.check_token()
            await limits.count_event(name, conversation.principal)
            await conversation.take(event)

    async def _close_all(self, _app: web.Application) -> None:
        await asyncio.gather(*(_close(visit, WSCloseCode.GOING_AWAY, "the city restarts") for visit in self._open))


def read_event(model: type[B], event: dict[str, Any]) -> B:
    """Validate an event of a client.

    Raises:
        InvalidInput: the event does not match ``model``.
    """
    try:
        return model.model_validate(event)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput("invalid", f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from error


def no_such_event(event: dict[str, Any]) -> InvalidInput:
    return InvalidInput("no_such_event", f"there is no client event {event.get('event')!r} here")


async def _close(visit: _Visit, code: WSCloseCode, reason: str) -> None:
    """Stop the events and do the closing handshake; abort the connection if the client does not respond in time."""
    visit.conversation.end()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await visit.socket.close(code=code, message=reason.encode())
    except TimeoutError:
        visit.reader.leave()


def _close_code(error: CityError) -> WSCloseCode:
    return WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.POLICY_VIOLATION


def _error_frame(error: CityError, client_id: Any = None) -> bytes:
    """Return the error event; ``client_id`` is the client's id of the event that failed."""
    content: dict[str, Any] = {"event": "error", "code": error.code, "detail": error.detail}
    if isinstance(error, TooManyRequests):
        content["retry_after_ms"] = math.ceil(error.retry_after_s * 1000)
    if client_id is not None:
        content["client_id"] = client_id
    return text_frame(encode_json(content))


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("not_json", "send JSON objects") from error
    if not isinstance(content, dict):
        raise InvalidInput("not_json", "send JSON objects")
    check_text(content)
    return content


def _since(request: web.Request) -> int | None:
    value = request.query.get("since")
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 18:
        raise InvalidInput("invalid", "since: must be the seq of a frame", status=422)
    return int(value)
