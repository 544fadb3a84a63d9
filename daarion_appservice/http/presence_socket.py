"""``/ws/city/presence``: heartbeats in, changes out.

Whatever goes to everybody is encoded once and written straight to the transports; a reader that is slower than the city is
sent away with a code that means "come back", and gets what it missed by ``?since=``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from aiohttp import ClientConnectionError, WSCloseCode, WSMessage, WSMsgType, web
from pydantic import Field, ValidationError

from ..city.ports import PresenceStore
from ..city.presence import KEEP, Beat, Status
from ..city.types import SubjectId, agent_subject, citizen_subject
from ..errors import CityError, InvalidInput, NotAllowed, NotSignedIn, Unavailable
from ..realtime.presence_stream import Changes, PresenceStream
from .endpoint import Body, check_text
from .frames import PING, close_frame, text_frame
from .origins import Origins
from .principals import Access, AgentPrincipal, Anonymous, Citizen, Principal, check
from .signing_in import CityDoor, TokenEnded

PATH: Final = "/ws/city/presence"

_PING_S: Final = 25.0
"""How long a client may say nothing before it is pinged."""
_PONG_S: Final = 12.5
"""How long it may then take to answer; one that does not is gone."""
_MAX_MESSAGE_BYTES: Final = 16 * 1024
_MAX_BUFFER_BYTES: Final = 1024 * 1024
"""What may wait for a slow reader, beyond its snapshot."""
_LAST_WORDS_S: Final = 5.0

log = structlog.get_logger()


class HeartbeatEvent(Body):
    user_id: str | None = Field(None, max_length=255)
    status: Status = Status.ONLINE
    status_msg: str | None = Field(None, max_length=255)
    session_id: str | None = Field(None, min_length=1, max_length=128)


class PresenceSocket:
    """The route; it has a ``_Reader`` for each connection."""

    def __init__(
        self,
        presence: PresenceStore,
        stream: PresenceStream,
        door: CityDoor,
        origins: Origins,
        *,
        anonymous_read: bool,
    ) -> None:
        self._presence = presence
        self._stream = stream
        self._door = door
        self._origins = origins
        self._anonymous_read = anonymous_read
        self._open: dict[web.WebSocketResponse, _Reader] = {}

    def install(self, app: web.Application) -> None:
        app.router.add_get(PATH, self._handle)
        app.on_shutdown.append(self._close_all)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._origins.check(request)
        principal = await self._door.stream_principal(request)
        since = _since(request)
        # aiohttp's own heartbeat pings all sockets of a second at once (measured: 10,000 of them held up everybody for 0.3 s).
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=_MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        reader = self._open[socket] = _Reader(transport, batch=request.query.get("batch") == "1")
        try:
            await self._converse(socket, reader, principal, since)
        except CityError as error:
            # The connection is no longer HTTP: what would be a status is an event and a close code here.
            reader.write(_error_frame(error))
            code = WSCloseCode.TRY_AGAIN_LATER if isinstance(error, Unavailable) else WSCloseCode.POLICY_VIOLATION
            await self._close(socket, reader, code, error.code)
        except (ConnectionError, ClientConnectionError):
            log.debug("reader_left")
        except Exception:
            await self._close(socket, reader, WSCloseCode.INTERNAL_ERROR, "internal_error")
            raise
        finally:
            self._stream.unlisten(reader)
            del self._open[socket]
        return socket

    async def _converse(
        self, socket: web.WebSocketResponse, reader: _Reader, principal: Principal, since: int | None
    ) -> None:
        conversation = _Conversation(self._presence, self._door, principal)
        if not self._may_read(principal):
            await conversation.first_word(socket)
            check(Access.READERS, conversation.principal, anonymous_read=self._anonymous_read)
        self._begin(reader, since)
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
                try:
                    await conversation.take(message.data)
                except TokenEnded:
                    raise
                except CityError as error:
                    reader.write(_error_frame(error))
            is_pinged = message is None

    def _begin(self, reader: _Reader, since: int | None) -> None:
        """Snapshot or replay, then changes; nothing can come between the two, because nothing is awaited."""
        beginning = self._stream.begin(since)
        if beginning.snapshot is not None:
            if since is not None:
                reader.write(text_frame(b'{"event":"presence.resync"}'))
            reader.write(beginning.snapshot.frame(text_frame))
        if beginning.missed:
            reader.presence(Changes(beginning.missed))
        reader.start()
        self._stream.listen(reader)

    def _may_read(self, principal: Principal) -> bool:
        return self._anonymous_read or not isinstance(principal, Anonymous)

    async def _close_all(self, _app: web.Application) -> None:
        await asyncio.gather(
            *(
                self._close(socket, reader, WSCloseCode.GOING_AWAY, "the city restarts")
                for socket, reader in self._open.items()
            )
        )

    async def _close(self, socket: web.WebSocketResponse, reader: _Reader, code: WSCloseCode, reason: str) -> None:
        """Say good-bye, after which nothing may be said; whoever does not answer it in time is left."""
        self._stream.unlisten(reader)
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await socket.close(code=code, message=reason.encode())
        except TimeoutError:
            reader.leave()


class _Reader:
    """One socket that presence is written to."""

    def __init__(self, transport: asyncio.Transport, *, batch: bool) -> None:
        self._transport = transport
        self._form, self._encode = ("together", _together) if batch else ("singly", _singly)
        self._limit = 0

    def start(self) -> None:
        """From here on no more may wait than the snapshot that does already, and the buffer."""
        self._limit = self._transport.get_write_buffer_size() + _MAX_BUFFER_BYTES

    def presence(self, changes: Changes) -> None:
        self.write(changes.once(self._form, self._encode))

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


class _Conversation:
    """What one client says: who it is, that it is here, that it goes."""

    def __init__(self, presence: PresenceStore, door: CityDoor, principal: Principal) -> None:
        self._presence = presence
        self._door = door
        self.principal = principal
        self._session = f"ws-{uuid4()}"

    async def first_word(self, socket: web.WebSocketResponse) -> None:
        """Where reading needs a token, the first thing said must be one."""
        message = await _next_message(socket, _PING_S)
        if message is not None and message.type is WSMsgType.TEXT:
            await self.take(message.data)

    def check_token(self) -> None:
        """Raise TokenEnded when whoever speaks here has stayed longer than their token counts."""
        self._door.check_still(self.principal)

    async def take(self, text: str) -> None:
        event = _json_object(text)
        if event.get("event") != "auth":
            self.check_token()
        match event.get("event"):
            case "auth":
                self.principal = await self._door.holder(str(event.get("token", "")))
            case "presence.heartbeat":
                await self._beat(_heartbeat(event), event.get("status_msg", KEEP))
            case "presence.offline":
                beat = _heartbeat(event | {"status": "offline"})
                await self._beat(beat, KEEP)
            case other:
                raise InvalidInput("no_such_event", f"there is no client event {other!r} here")

    async def _beat(self, beat: HeartbeatEvent, status_msg: Any) -> None:
        subject = self._subject(beat.user_id)
        await self._presence.beat([Beat(subject, beat.status, status_msg, beat.session_id or self._session)])

    def _subject(self, user_id: str | None) -> SubjectId:
        names: set[str]
        match self.principal:
            case Citizen(citizen):
                subject, names = citizen_subject(citizen), {citizen}
            case AgentPrincipal(slug):
                subject, names = agent_subject(slug), {slug, agent_subject(slug)}
            case _:
                raise NotSignedIn("sign_in", 'say who you are first: {"event": "auth", "token": "…"}')
        if user_id is not None and user_id not in names:
            raise NotAllowed("not_you", f"this token is {subject}'s, not {user_id}'s")
        return subject


async def _next_message(socket: web.WebSocketResponse, timeout_s: float) -> WSMessage | None:
    """None when nothing is said for so long; pings are answered, and say nothing."""
    try:
        async with asyncio.timeout(timeout_s):
            while (message := await socket.receive()).type is WSMsgType.PING:
                await socket.pong(message.data)
    except TimeoutError:
        return None
    return message


def _error_frame(error: CityError) -> bytes:
    return text_frame(orjson.dumps({"event": "error", "code": error.code, "detail": error.detail}))


def _heartbeat(event: dict[str, Any]) -> HeartbeatEvent:
    try:
        return HeartbeatEvent.model_validate(event)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput("invalid", f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from error


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


def _singly(changes: Changes) -> bytes:
    return b"".join(text_frame(update) for update in changes.singly)


def _together(changes: Changes) -> bytes:
    return text_frame(changes.together)
