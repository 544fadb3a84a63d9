"""The routes ``/api/v1/presence``: presence by subject, counts, citizens' heartbeats and an event stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import ClientConnectionError, web
from aiohttp_sse import EventSourceResponse, sse_response
from pydantic import Field, StringConstraints

from ...city.online_counts import OnlineCounts
from ...city.person_presence import PersonPresence
from ...city.ports import NowMs, PresenceStore
from ...city.presence import KEEP, Heartbeat, Status
from ...city.types import RoomId, SubjectId
from ...errors import InvalidInput
from ...realtime.citizen_names import CitizenNames
from ...realtime.presence_stream import Change, Changes, PresenceStream, Snapshot, encode_presence
from .. import schemas
from ..auth.authenticator import CityAuthenticator, TokenEnded
from ..auth.principals import Access, Citizen, Principal, check, own_subject
from ..disconnects import call_on_disconnect
from ..id_lists import split_ids
from ..limits.metrics import SLOW_EVENT_STREAM
from ..metrics import PRESENCE_EVENTS
from ..routing import Body, Call, EndpointDescription, NoBody, NoQuery, Query, described, endpoint

_MAX_IDS: Final = 500
_COMMENT_S: Final = 15.0
_CHUNK_BYTES: Final = 64 * 1024
_MAX_TICKS_BEHIND: Final = 200
"""How many ticks (10 s of constant changes) may queue for a slow client before its stream ends; Last-Event-ID resumes it."""

_STREAM_ENDS: Final = (ConnectionError, ClientConnectionError, TimeoutError, TokenEnded)
"""The normal ends of a stream: the client leaves, stops reading, or its token ends (a reconnect gets the error)."""


SubjectText = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class PresenceListQuery(Query):
    ids: str = Field(
        description="1 to 500 subjects, separated by commas: a citizen id, `agent:<slug>`, or a Matrix user id.",
        examples=["u_123,agent:daarwizz,@olena:daarion.space"],
    )


class PresenceListBody(Body):
    """The subjects of a list of presences."""

    ids: list[SubjectText] = Field(
        min_length=1,
        max_length=_MAX_IDS,
        description="1 to 500 subjects: a citizen id, `agent:<slug>`, or a Matrix user id.",
        examples=[["u_123", "agent:daarwizz", "@olena:daarion.space"]],
    )


class CitizenHeartbeat(Body):
    """A heartbeat of a citizen."""

    user_id: str | None = Field(
        None,
        max_length=255,
        description="The citizen id, which must be `sub` of the token; default: that one.",
        examples=["u_123"],
    )
    status: Status = Field(
        Status.ONLINE, description="The status of this session; `offline` ends it.", examples=["online"]
    )
    status_msg: str | None = Field(
        None,
        max_length=255,
        description="The status message; `null` removes it, and without the field it does not change.",
        examples=["малюю мапу Подолу"],
    )
    session_id: str = Field(
        "", max_length=128, description="The session: one for each page or device.", examples=["tab-1"]
    )


@dataclass(frozen=True, slots=True)
class PresenceRoutes:
    presence: PresenceStore
    person_presence: PersonPresence
    online_counts: OnlineCounts
    now_ms: NowMs
    unlisted: Callable[[], Awaitable[frozenset[RoomId]]]
    names: CitizenNames

    @endpoint(
        "GET",
        "/api/v1/presence",
        access=Access.READERS,
        query=PresenceListQuery,
        summary="Get the presence of several subjects",
        response=schemas.PresenceList,
    )
    async def get_presence_list(self, call: Call[NoBody, PresenceListQuery]) -> schemas.PresenceList:
        """An unknown subject is `offline`. A citizen and the Matrix account that they are linked with have one presence.

        A request line has up to 8,190 bytes; longer lists go by `POST`.
        """
        ids = split_ids(call.query.ids)
        if not ids or len(ids) > _MAX_IDS:
            raise InvalidInput("invalid", f"ids: must be 1 to {_MAX_IDS} subjects", status=422)
        return self._presences(ids)

    @endpoint(
        "POST",
        "/api/v1/presence",
        access=Access.READERS,
        body=PresenceListBody,
        summary="Get the presence of several subjects, named in the body",
        response=schemas.PresenceList,
    )
    async def post_presence_list(self, call: Call[PresenceListBody, NoQuery]) -> schemas.PresenceList:
        """The same as `GET`, for lists that are too long for a request line: 500 Matrix user ids have up to 127,500 bytes."""
        return self._presences(call.body.ids)

    def _presences(self, ids: Sequence[str]) -> schemas.PresenceList:
        now_ms = self.now_ms()
        return {
            "presences": [
                encode_presence(SubjectId(each), self.person_presence.state(SubjectId(each)), now_ms) for each in ids
            ]
        }

    @endpoint(
        "POST",
        "/api/v1/presence/heartbeat",
        access=Access.CITIZENS_ONLY,
        body=CitizenHeartbeat,
        summary="Send a heartbeat of a citizen",
        response=schemas.SubjectPresence,
        errors=("user_id_mismatch",),
    )
    async def send_citizen_heartbeat(self, call: Call[CitizenHeartbeat, NoQuery]) -> schemas.SubjectPresence:
        """For clients without a WebSocket, every `presence.heartbeat_s`. A page that is closed sends `offline` with the
        `session_id` of its WebSocket, by `fetch` with `keepalive: true`. Returns the presence of all sessions together.
        """
        subject = own_subject(call.principal, call.body.user_id)
        status_msg = call.body.status_msg if "status_msg" in call.body.model_fields_set else KEEP
        if isinstance(call.principal, Citizen):
            await self.names.record(call.principal.id, call.principal.display_name)
            status_msg = self.names.status_text(call.principal.id, status_msg)
        heartbeat = Heartbeat(subject, call.body.status, status_msg, call.body.session_id)
        (state,) = await self.presence.record_heartbeat([heartbeat])
        return encode_presence(subject, self.person_presence.state(subject, state), self.now_ms())

    @endpoint(
        "GET",
        "/api/v1/presence/summary",
        access=Access.READERS,
        summary="Count the subjects who are not offline",
        response=schemas.PresenceSummary,
    )
    async def get_presence_summary(self, _call: Call[NoBody, NoQuery]) -> schemas.PresenceSummary:
        """`rooms` contains only rooms that are listed for all readers."""
        summary, unlisted = self.online_counts.summary(), await self.unlisted()
        rooms: dict[str, int] = {room: count for room, count in summary["rooms"].items() if room not in unlisted}
        return {"online": summary["online"], "away": summary["away"], "rooms": rooms}


class PresenceEvents:
    """The route ``/api/v1/presence/stream``: server-sent events."""

    def __init__(self, stream: PresenceStream, authenticator: CityAuthenticator, *, anonymous_read: bool) -> None:
        self._stream = stream
        self._authenticator = authenticator
        self._anonymous_read = anonymous_read
        self._open: set[_Queue] = set()

    def install(self, app: web.Application) -> None:
        app.router.add_get("/api/v1/presence/stream", self._stream_presence)
        app.on_shutdown.append(self._end_streams)

    @described(
        EndpointDescription(
            Access.READERS,
            summary="Stream presence as server-sent events",
            response=schemas.PresenceEvent,
            response_type="text/event-stream",
            token_in_query=True,
        )
    )
    async def _stream_presence(self, request: web.Request) -> web.StreamResponse:
        """The first event is `snapshot`, with all subjects who are not offline; then one `presence` event follows for each
        change, with its number as `id`.

        A client that reconnects with `Last-Event-ID` receives the changes that it missed, the last one of each subject. If they
        are no longer known, it receives `resync` and a new `snapshot`. A comment is sent every 15 seconds. The stream ends when
        the token expires or is revoked.
        """
        principal = await self._authenticator.stream_principal(request)
        check(Access.READERS, principal, anonymous_read=self._anonymous_read)
        with self._authenticator.limits.open_connection(request, principal):
            return await self._stream_to(request, principal)

    async def _stream_to(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        queue = _Queue()
        # Else the stream would count as open, and against the client's limit, until the next comment is written.
        call_on_disconnect(request, queue.end)
        self._open.add(queue)
        PRESENCE_EVENTS.open += 1
        try:
            async with sse_response(request, ping_interval=_COMMENT_S) as response:
                with suppress(*_STREAM_ENDS):
                    await self._send_beginning(response, queue, response.last_event_id)
                    await self._send_changes(response, queue, principal)
        finally:
            self._open.discard(queue)
            PRESENCE_EVENTS.open -= 1
            self._stream.unlisten(queue)
        return response

    async def _send_changes(self, response: EventSourceResponse, queue: _Queue, principal: Principal) -> None:
        while response.is_connected() and (changes := await queue.next()) is not None:
            self._authenticator.tokens.check_still_valid(principal)
            for change in changes:
                await _send(response, change)

    async def _end_streams(self, _app: web.Application) -> None:
        for queue in self._open:
            queue.end()

    async def _send_beginning(self, response: EventSourceResponse, queue: _Queue, last_id: str | None) -> None:
        since = int(last_id) if last_id is not None and last_id.isdecimal() and len(last_id) <= 18 else None
        # The snapshot is taken before the first await, and the queue listens from here: sending takes time.
        beginning = self._stream.initial_data(since)
        self._stream.listen(queue)
        if beginning.snapshot is not None:
            if last_id is not None:
                await response.send("{}", event="resync")
            PRESENCE_EVENTS.sent_messages += 1
            for chunk in beginning.snapshot.once("events", _snapshot_event):
                await response.write(chunk)
                PRESENCE_EVENTS.sent_bytes += len(chunk)
        for change in beginning.missed:
            await _send(response, change)


class _Queue:
    """The changes that wait to be sent to one client."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[list[Change] | None] = asyncio.Queue()

    def presence(self, changes: Changes) -> None:
        size = self._waiting.qsize()
        if size < _MAX_TICKS_BEHIND:
            self._waiting.put_nowait(changes.changes)
        elif size == _MAX_TICKS_BEHIND:
            SLOW_EVENT_STREAM.inc()
            self.end()

    def end(self) -> None:
        self._waiting.put_nowait(None)

    async def next(self) -> list[Change] | None:
        """Return the changes of the next tick, an empty list after a while without any, or None when the stream must end."""
        try:
            async with asyncio.timeout(_COMMENT_S):
                return await self._waiting.get()
        except TimeoutError:
            return []


def _snapshot_event(snapshot: Snapshot) -> list[bytes]:
    """Return the event in chunks; each is written after the client has read most of the previous ones."""
    event = b"id: %d\r\nevent: snapshot\r\ndata: %b\r\n\r\n" % (snapshot.seq, snapshot.encoded)
    return [event[start : start + _CHUNK_BYTES] for start in range(0, len(event), _CHUNK_BYTES)]


async def _send(response: EventSourceResponse, change: Change) -> None:
    text = _text(change)
    await response.send(text, event="presence", id=str(change.seq))
    PRESENCE_EVENTS.sent_messages += 1
    PRESENCE_EVENTS.sent_bytes += len(text)


def _text(change: Change) -> str:
    return (b"{" + change.update + b"}").decode()
