"""The WebSocket ``/ws/city/presence``: receives heartbeats and sends presence changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from pydantic import Field

from ...city.ports import PresenceStore
from ...city.presence import KEEP, Heartbeat, KeepCurrent, Status
from ...city.types import SubjectId, agent_subject, citizen_subject
from ...errors import Forbidden, Unauthenticated
from ...realtime.citizen_names import CitizenNames
from ...realtime.presence_stream import Change, Changes, PresenceStream, Snapshot
from ...realtime.room_updates import RoomUpdates
from ...realtime.unread_stream import UnreadStream
from ..auth.authenticator import CityAuthenticator
from ..auth.origins import Origins
from ..auth.principals import AgentPrincipal, Citizen, Principal, author_of
from ..metrics import PRESENCE_SOCKETS
from ..routing import Body
from .frames import fragments, text_frame
from .route import SocketRoute
from .session import WebSocketSession, read_event, unknown_event
from .socket_writer import SocketWriter

PATH: Final = "/ws/city/presence"

_MAX_MESSAGE_BYTES: Final = 16 * 1024
_BATCH_SIZE: Final = 200
"""The number of changes in one batch of a replay."""
_MAX_WAITING_FRAMES: Final = 60
"""Frames of room updates that wait until a slow client has read the snapshot: those of a minute."""
_ROOMS_RESYNC: Final = text_frame(b'{"event":"city.rooms.resync"}')


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
        names: CitizenNames,
        room_updates: RoomUpdates,
        unread_stream: UnreadStream,
        authenticator: CityAuthenticator,
        origins: Origins,
        *,
        anonymous_read: bool,
    ) -> None:
        super().__init__(
            PATH,
            PRESENCE_SOCKETS,
            authenticator,
            origins,
            anonymous_read=anonymous_read,
            max_message_bytes=_MAX_MESSAGE_BYTES,
        )
        self._presence = presence
        self._stream = stream
        self._names = names
        self._room_updates = room_updates
        self._unread_stream = unread_stream

    async def open_session(self, request: web.Request, principal: Principal, since: int | None) -> WebSocketSession:
        return _Session(
            self._presence,
            self._stream,
            self._names,
            self._room_updates if request.query.get("rooms") == "1" else None,
            self._unread_stream if request.query.get("unread") == "1" else None,
            self._authenticator,
            principal,
            since,
            is_batched=request.query.get("batch") == "1",
        )


class _Session(WebSocketSession):
    """The session of one client: its heartbeats, and the presence changes for it."""

    def __init__(
        self,
        presence: PresenceStore,
        stream: PresenceStream,
        names: CitizenNames,
        room_updates: RoomUpdates | None,
        unread_stream: UnreadStream | None,
        authenticator: CityAuthenticator,
        principal: Principal,
        since: int | None,
        *,
        is_batched: bool,
    ) -> None:
        super().__init__(authenticator, principal, since)
        self._presence = presence
        self._stream = stream
        self._names = names
        self._room_updates = room_updates
        self._unread_stream = unread_stream
        self._form = _together if is_batched else _singly
        self._session = f"ws-{uuid4()}"
        self._writer: SocketWriter | None = None
        self._waiting_frames: list[bytes] | None = []
        """Room updates that wait for the end of the snapshot, which is one message of many frames; None after it."""

    async def start(self, writer: SocketWriter) -> None:
        """Send a snapshot or a replay as fast as the client reads, then the live changes.

        No change is lost in between: there is no await between the last read of missed changes and the subscription.
        """
        self._writer = writer
        if self._room_updates is not None:
            # A client reads the list of rooms once it is connected, which may be long before it has the snapshot.
            self._room_updates.listen(self)
        seq, unnumbered = self.since, None
        while (beginning := self._stream.initial_data(seq, unnumbered)).snapshot is not None or beginning.missed:
            if beginning.snapshot is not None:
                if seq is not None:
                    writer.write(text_frame(b'{"event":"presence.resync"}'))
                await writer.send(beginning.snapshot.once("frames", _snapshot_frames))
                seq, unnumbered = beginning.snapshot.seq, beginning.unnumbered
            for batch in _batches(beginning.missed):
                frames, _ = self._form(Changes(batch))
                await writer.send([frames])
                seq = batch[-1].seq
        self._stream.listen_to(self._form, self, writer.write)
        for frame in self._waiting_frames or ():
            writer.write(frame)
        self._waiting_frames = None
        self._listen_to_unread()

    async def principal_changed(self) -> None:
        if self._writer is not None:
            self._listen_to_unread()

    def _listen_to_unread(self) -> None:
        """Send what the citizen has not read, instead of what the citizen before had."""
        if self._unread_stream is None:
            return
        self._unread_stream.unlisten(self)
        if isinstance(self.principal, Citizen) and (citizen := author_of(self.principal)) is not None:
            self._unread_stream.listen(self, citizen)

    @property
    def subject(self) -> SubjectId | None:
        author = author_of(self.principal)
        return author.subject if author else None

    def rooms(self, frame: bytes) -> None:
        assert self._writer is not None
        if self._waiting_frames is None:
            self._writer.write(frame)
        elif len(self._waiting_frames) < _MAX_WAITING_FRAMES:
            self._waiting_frames.append(frame)
        else:
            self._waiting_frames = [_ROOMS_RESYNC]

    def unread(self, frame: bytes) -> None:
        assert self._writer is not None
        self._writer.write(frame)

    def stop(self) -> None:
        self._stream.unlisten(self)
        if self._unread_stream is not None:
            self._unread_stream.unlisten(self)
        if self._room_updates is not None:
            self._room_updates.unlisten(self)

    async def handle_event(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "presence.heartbeat":
                await self._record_heartbeat(read_event(HeartbeatEvent, event), event.get("status_msg", KEEP))
            case "presence.offline":
                await self._record_heartbeat(read_event(HeartbeatEvent, event | {"status": "offline"}), KEEP)
            case _:
                raise unknown_event(event)

    async def _record_heartbeat(self, heartbeat: HeartbeatEvent, status_msg: str | KeepCurrent | None) -> None:
        subject = self._subject(heartbeat.user_id)
        if isinstance(self.principal, Citizen):
            await self._names.record(self.principal.id, self.principal.display_name)
            status_msg = self._names.status_text(self.principal.id, status_msg)
        await self._presence.record_heartbeat(
            [Heartbeat(subject, heartbeat.status, status_msg, heartbeat.session_id or self._session)]
        )

    def _subject(self, user_id: str | None) -> SubjectId:
        ids: set[str]
        match self.principal:
            case Citizen(citizen):
                subject, ids = citizen_subject(citizen), {citizen}
            case AgentPrincipal(slug):
                subject, ids = agent_subject(slug), {slug, agent_subject(slug)}
            case _:
                raise Unauthenticated("sign_in", 'authenticate first: {"event": "auth", "token": "…"}')
        if user_id is not None and user_id not in ids:
            raise Forbidden("user_id_mismatch", f"the token is of {subject}, not of {user_id}")
        return subject


def _snapshot_frames(snapshot: Snapshot) -> list[bytes]:
    return fragments(snapshot.encoded)


def _batches(changes: list[Change]) -> Iterator[list[Change]]:
    for begin in range(0, len(changes), _BATCH_SIZE):
        yield changes[begin : begin + _BATCH_SIZE]


def _singly(changes: Changes) -> tuple[bytes, int]:
    """Return a frame for each change, and their number."""
    return b"".join(text_frame(update) for update in changes.singly), len(changes.changes)


def _together(changes: Changes) -> tuple[bytes, int]:
    """Return one frame with all changes, and the number 1."""
    return text_frame(changes.together), 1
