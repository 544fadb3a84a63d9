"""``/ws/city/presence``: heartbeats in, changes out."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from pydantic import Field

from ..city.ports import PresenceStore
from ..city.presence import KEEP, Beat, Keep, Status
from ..city.types import SubjectId, agent_subject, citizen_subject
from ..errors import NotAllowed, NotSignedIn
from ..realtime.presence_stream import Changes, PresenceStream
from .endpoint import Body
from .frames import text_frame
from .origins import Origins
from .principals import AgentPrincipal, Citizen, Principal
from .signing_in import CityDoor
from .sockets import Conversation, Reader, SocketRoute, no_such_event, read_event

PATH: Final = "/ws/city/presence"

_MAX_MESSAGE_BYTES: Final = 16 * 1024


class HeartbeatEvent(Body):
    user_id: str | None = Field(None, max_length=255)
    status: Status = Status.ONLINE
    status_msg: str | None = Field(None, max_length=255)
    session_id: str | None = Field(None, min_length=1, max_length=128)


class PresenceSocket(SocketRoute):
    def __init__(
        self,
        presence: PresenceStore,
        stream: PresenceStream,
        door: CityDoor,
        origins: Origins,
        *,
        anonymous_read: bool,
    ) -> None:
        super().__init__(PATH, door, origins, anonymous_read=anonymous_read, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._presence = presence
        self._stream = stream

    async def conversation(self, request: web.Request, principal: Principal, since: int | None) -> Conversation:
        is_batched = request.query.get("batch") == "1"
        return _Conversation(self._presence, self._stream, self._door, principal, since, is_batched=is_batched)


class _Conversation(Conversation):
    """What one client says: that it is here, that it goes; and what it is told."""

    def __init__(
        self,
        presence: PresenceStore,
        stream: PresenceStream,
        door: CityDoor,
        principal: Principal,
        since: int | None,
        *,
        is_batched: bool,
    ) -> None:
        super().__init__(door, principal, since)
        self._presence = presence
        self._stream = stream
        self._form, self._encode = ("together", _together) if is_batched else ("singly", _singly)
        self._session = f"ws-{uuid4()}"
        self._reader: Reader | None = None

    async def begin(self, reader: Reader) -> None:
        """Snapshot or replay, then changes; nothing can come between the two, because nothing is awaited."""
        self._reader = reader
        beginning = self._stream.begin(self.since)
        if beginning.snapshot is not None:
            if self.since is not None:
                reader.write(text_frame(b'{"event":"presence.resync"}'))
            reader.write(beginning.snapshot.frame(text_frame))
        if beginning.missed:
            self.presence(Changes(beginning.missed))
        reader.start()
        self._stream.listen(self)

    def presence(self, changes: Changes) -> None:
        assert self._reader is not None
        self._reader.write(changes.once(self._form, self._encode))

    def end(self) -> None:
        self._stream.unlisten(self)

    async def take(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "presence.heartbeat":
                await self._beat(read_event(HeartbeatEvent, event), event.get("status_msg", KEEP))
            case "presence.offline":
                await self._beat(read_event(HeartbeatEvent, event | {"status": "offline"}), KEEP)
            case _:
                raise no_such_event(event)

    async def _beat(self, beat: HeartbeatEvent, status_msg: str | Keep | None) -> None:
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


def _singly(changes: Changes) -> bytes:
    return b"".join(text_frame(update) for update in changes.singly)


def _together(changes: Changes) -> bytes:
    return text_frame(changes.together)
