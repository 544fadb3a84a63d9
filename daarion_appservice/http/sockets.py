"""What all our WebSockets have in common: who speaks, who listens, how they come and how they go.

Whatever goes to everybody is encoded once and written straight to the transports; a reader that is slower than the city is
sent away with a code that means "come back", and gets what it missed by ``?since=``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final

import orjson
import structlog
from aiohttp import ClientConnectionError, WSCloseCode, WSMessage, WSMsgType, web
from pydantic import ValidationError

from ..errors import CityError, InvalidInput, Unavailable
from .database_away import unavailable_without_database
from .endpoint import B, check_text
from .frames import PING, close_frame, text_frame
from .origins import Origins
from .principals import Access, Anonymous, Principal, check
from .signing_in import CityDoor, TokenEnded

_PING_S: Final = 25.0
"""How long a client may say nothing before it is pinged."""
_PONG_S: Final = 12.5
"""How long it may then take to answer; one that does not is gone."""
_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""What may wait for a slow reader, beyond what it is told first."""
_LAST_WORDS_S: Final = 5.0

log = structlog.get_logger()


class Reader:
    """One socket that is written to."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._limit = 0

    def start(self) -> None:
        """From here on no more may wait than what it was told first, and the buffer."""
        self._limit = self._transport.get_write_buffer_size() + _MAX_BUFFER_BYTES

    def write(self, frames: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._limit and self._transport.get_write_buffer_size() > self._limit:
            self._send_away()
            return
        self._transport.write(frames)

    def leave(self) -> None:
        """End the connection, whatever still waits in it."""
        self._transport.abort()

    def _send_away(self) -> None:
        self._transport.write(close_frame(WSCloseCode.TRY_AGAIN_LATER, "too slow: come back with since"))
        self._transport.close()
        # Closing waits for what is in the buffer, and this peer does not take it.
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._transport.abort)


class Conversation(ABC):
    """What one client says and is told. ``since`` is the number that it came back with."""

    def __init__(self, door: CityDoor, principal: Principal, since: int | None) -> None:
        self._door = door
        self.principal = principal
        self.since = since

    async def hear(self, event: dict[str, Any]) -> None:
        """Take one event. Raises TokenEnded when whoever speaks here has stayed longer than their token counts."""
        if event.get("event") == "auth":
            self.principal = await self._door.holder(str(event.get("token", "")))
        else:
            self.check_token()
            await self.take(event)

    def check_token(self) -> None:
        self._door.check_still(self.principal)

    @abstractmethod
    async def take(self, event: dict[str, Any]) -> None:
        """Do what the client asks for; raises CityError."""

    @abstractmethod
    async def begin(self, reader: Reader) -> None:
        """Tell what was missed, and go on telling from there."""

    @abstractmethod
    def end(self) -> None:
        """Tell nothing more; may be called twice."""


class SocketRoute(ABC):
    """A route; it has a conversation for each connection."""

    def __init__(
        self, path: str, door: CityDoor, origins: Origins, *, anonymous_read: bool, max_message_bytes: int
    ) -> None:
        self._path = path
        self._door = door
        self._origins = origins
        self._anonymous_read = anonymous_read
        self._max_message_bytes = max_message_bytes
        self._open: dict[web.WebSocketResponse, tuple[Reader, Conversation]] = {}

    @abstractmethod
    async def conversation(self, request: web.Request, principal: Principal, since: int | None) -> Conversation:
        """For somebody who comes; raises CityError for what is wrong with the address."""

    def may_read(self, principal: Principal) -> bool:
        return self._anonymous_read or not isinstance(principal, Anonymous)

    def install(self, app: web.Application) -> None:
        app.router.add_get(self._path, self._handle)
        app.on_shutdown.append(self._close_all)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._origins.check(request)
        principal = await self._door.stream_principal(request)
        conversation = await self.conversation(request, principal, _since(request))
        # aiohttp's own heartbeat pings all sockets of a second at once (measured: 10,000 of them held up everybody for 0.3 s).
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=self._max_message_bytes)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        reader = Reader(transport)
        self._open[socket] = (reader, conversation)
        try:
            with unavailable_without_database():
                await self._converse(socket, reader, conversation)
        except CityError as error:
            # The connection is no longer HTTP: what would be a status is an event and a close code here.
            reader.write(_error_frame(error))
            code = WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.POLICY_VIOLATION
            await _close(socket, reader, conversation, code, error.code)
        except (ConnectionError, ClientConnectionError):
            log.debug("reader_left")
        except Exception:
            await _close(socket, reader, conversation, WSCloseCode.INTERNAL_ERROR, "internal_error")
            raise
        finally:
            conversation.end()
            del self._open[socket]
        return socket

    async def _converse(self, socket: web.WebSocketResponse, reader: Reader, conversation: Conversation) -> None:
        if not self.may_read(conversation.principal):
            # Where reading needs a token, the first thing said must be one.
            first = await _next_message(socket, _PING_S)
            if first is not None and first.type is WSMsgType.TEXT:
                await conversation.hear(_json_object(first.data))
            check(Access.READERS, conversation.principal, anonymous_read=False)
        await conversation.begin(reader)
        is_pinged = False
        while not socket.closed:
            message = await _next_message(socket, _PONG_S if is_pinged else _PING_S)
            if message is None:
                conversation.check_token()
                if is_pinged:
                    reader.leave()
                else:
                    reader.write(PING)
            elif message.type is WSMsgType.TEXT:
                await _hear(conversation, reader, message.data)
            is_pinged = message is None

    async def _close_all(self, _app: web.Application) -> None:
        await asyncio.gather(
            *(
                _close(socket, reader, conversation, WSCloseCode.GOING_AWAY, "the city restarts")
                for socket, (reader, conversation) in self._open.items()
            )
        )


def read_event(model: type[B], event: dict[str, Any]) -> B:
    """A client's event as ``model`` wants it; raises InvalidInput."""
    try:
        return model.model_validate(event)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput("invalid", f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from error


def no_such_event(event: dict[str, Any]) -> InvalidInput:
    return InvalidInput("no_such_event", f"there is no client event {event.get('event')!r} here")


async def _hear(conversation: Conversation, reader: Reader, text: str) -> None:
    event: dict[str, Any] = {}
    try:
        event = _json_object(text)
        with unavailable_without_database():
            await conversation.hear(event)
    except TokenEnded:
        raise
    except CityError as error:
        reader.write(_error_frame(error, event.get("client_id")))


async def _close(
    socket: web.WebSocketResponse, reader: Reader, conversation: Conversation, code: WSCloseCode, reason: str
) -> None:
    """Say good-bye, after which nothing may be said; whoever does not answer it in time is left."""
    conversation.end()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await socket.close(code=code, message=reason.encode())
    except TimeoutError:
        reader.leave()


async def _next_message(socket: web.WebSocketResponse, timeout_s: float) -> WSMessage | None:
    """None when nothing is said for so long; pings are answered, and say nothing."""
    try:
        async with asyncio.timeout(timeout_s):
            while (message := await socket.receive()).type is WSMsgType.PING:
                await socket.pong(message.data)
    except TimeoutError:
        return None
    return message


def _error_frame(error: CityError, client_id: Any = None) -> bytes:
    """``client_id``: what the client called the thing that went wrong."""
    content = {"event": "error", "code": error.code, "detail": error.detail}
    return text_frame(orjson.dumps(content if client_id is None else content | {"client_id": client_id}))


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
