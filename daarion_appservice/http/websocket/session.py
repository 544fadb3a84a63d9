"""What all our WebSockets have in common: who speaks, who listens, how they come and how they go.

Whatever goes to everybody is encoded once and written straight to the transports; a reader that is slower than the city is
sent away with a code that means "come back", and gets what it missed by ``?since=``.
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
from ..limits.tcp_connections import Connection, connection_of
from ..routing import B, check_text
from .frames import PING, close_frame, frame_size, text_frame

_PING_S: Final = 25.0
"""How long a client may say nothing before it is pinged."""
_PONG_S: Final = 12.5
"""How long it may then take to answer; one that does not is gone."""
_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""What may wait for a slow reader. What it is told first waits for it to read (``Reader.send``)."""
_LAST_WORDS_S: Final = 5.0
_ENDS: Final = {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}

log = structlog.get_logger()


class SocketWriter:
    """One socket that is written to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport

    @property
    def is_behind(self) -> bool:
        """Whether more waits for it than is good: ``drained`` waits until that is not so."""
        return self._connection.is_behind

    def write(self, frames: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _MAX_BUFFER_BYTES:
            self._send_away()
            return
        self._transport.write(frames)

    def disconnect(self, error: CityError) -> None:
        """End the connection, saying why; what is in the buffer is still told."""
        if not self._transport.is_closing():
            self._transport.write(_error_frame(error) + close_frame(_close_code(error), error.code))
            self._close()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Write these, each when the reader has taken those before. Raises ConnectionResetError when it has left."""
        for frame in frames:
            if self.is_behind:
                await self.drained()
            self.write(frame)

    async def drained(self) -> None:
        """Wait until little waits for it. Raises ConnectionResetError when it has left, or took nothing for too long."""
        await self._connection.drained()

    def leave(self) -> None:
        """End the connection, whatever still waits in it."""
        self._transport.abort()

    def _send_away(self) -> None:
        self._transport.write(close_frame(WSCloseCode.TRY_AGAIN_LATER, "too slow: come back with since"))
        self._close()

    def _close(self) -> None:
        self._transport.close()
        # Closing waits for what is in the buffer, and this peer does not take it.
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._transport.abort)


class WebSocketSession(ABC):
    """What one client says and is told. ``since`` is the number that it came back with."""

    def __init__(self, door: CityAuthenticator, principal: Principal, since: int | None) -> None:
        self._door = door
        self.principal = principal
        self.since = since

    def check_token(self) -> None:
        """Raise TokenEnded when whoever speaks here has stayed longer than their token counts."""
        self._door.check_still_valid(self.principal)

    @abstractmethod
    async def take(self, event: dict[str, Any]) -> None:
        """Do what the client asks for; raises CityError."""

    @abstractmethod
    async def begin(self, reader: SocketWriter) -> None:
        """Tell what was missed, and go on telling from there."""

    @property
    def must_sign_in(self) -> bool:
        """Whether the first thing said must be a token."""
        return False

    async def signed_in(self) -> None:
        """Another token was shown; ``principal`` is whose."""
        return

    @abstractmethod
    def end(self) -> None:
        """Tell nothing more; may be called twice."""


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One connection, and what it may take up."""

    request: web.Request
    socket: web.WebSocketResponse
    connection: Connection
    reader: SocketWriter
    conversation: WebSocketSession
    place: ConnectionLease
    pace: TokenBucket | None

    async def next_message(self, timeout_s: float) -> WSMessage | None:
        """None when nothing is said for so long; pings are answered, and say nothing. Raises TooManyRequests for a flood."""
        try:
            async with asyncio.timeout(timeout_s):
                while (message := await self._receive()).type is WSMsgType.PING:
                    await self.socket.pong(message.data)
        except TimeoutError:
            return None
        return message

    async def _receive(self) -> WSMessage:
        """The next message that does not come too fast; the others are answered with an error."""
        while True:
            message = await self._next()
            if self.pace is None or message.type in _ENDS or not (wait_s := self.pace.take()):
                return message
            error = TooManyRequests("too many events on this socket", retry_after_s=wait_s)
            if self.pace.is_exhausted:
                raise error
            self.reader.write(_error_frame(error))

    async def _next(self) -> WSMessage:
        """The next message of any kind; its bytes are no longer counted as held."""
        mark = self.connection.held.received
        message = await self.socket.receive()
        is_data = message.type in {WSMsgType.TEXT, WSMsgType.BINARY}
        self.connection.took_message(frame_size(message.data), mark if is_data else None)
        return message


class SocketRoute(ABC):
    """A route; it has a conversation for each connection."""

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
        """For somebody who comes; raises CityError for what is wrong with the address."""

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
            # aiohttp's own heartbeat pings all sockets of a second at once (measured: 10,000 held up everybody for 0.3 s).
            socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=self._max_message_bytes)
            await socket.prepare(request)
            if (connection := connection_of(request)) is not None:
                reader, pace = SocketWriter(connection), self._door.limits.pace()
                connection.put_out = reader.disconnect
                await self._serve(_Visit(request, socket, connection, reader, conversation, place, pace))
        return socket

    async def _serve(self, visit: _Visit) -> None:
        self._open.add(visit)
        try:
            with translate_database_errors():
                await self._converse(visit)
        except CityError as error:
            # The connection is no longer HTTP: what would be a status is an event and a close code here.
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
            # Where reading needs a token, the first thing said must be one.
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
            # After all else that comes, too: pongs, or wrong tokens again and again, must not put it off.
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
        """Do what one event asks for. Raises TokenEnded when whoever speaks has stayed longer than their token counts."""
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
    """A client's event as ``model`` wants it; raises InvalidInput."""
    try:
        return model.model_validate(event)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput("invalid", f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from error


def no_such_event(event: dict[str, Any]) -> InvalidInput:
    return InvalidInput("no_such_event", f"there is no client event {event.get('event')!r} here")


async def _close(visit: _Visit, code: WSCloseCode, reason: str) -> None:
    """Say good-bye, after which nothing may be said; whoever does not answer it in time is left."""
    visit.conversation.end()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await visit.socket.close(code=code, message=reason.encode())
    except TimeoutError:
        visit.reader.leave()


def _close_code(error: CityError) -> WSCloseCode:
    return WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.POLICY_VIOLATION


def _error_frame(error: CityError, client_id: Any = None) -> bytes:
    """``client_id``: what the client called the thing that went wrong."""
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
