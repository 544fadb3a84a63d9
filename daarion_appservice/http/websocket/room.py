"""The WebSocket ``/ws/city/rooms/{room_id}``: sends the events of a room, and receives messages, typing and read marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from ...city.history_visibility import ReadableRanges, is_known_to, may_subscribe
from ...city.identity import Identities
from ...city.messages import Messages
from ...city.online_members import OnlineMembers
from ...city.ports import NowMs, PresenceStore
from ...city.reader_memberships import ReaderMemberships
from ...city.room_events import Removal, RoomEvent, RoomEventKind
from ...city.types import Author, Room, RoomId, SubjectId
from ...city.typing_and_receipts import TypingAndReceipts
from ...errors import NotFound
from ...json_encoding import encode_json
from ...realtime.presence_stream import encode_presence
from ...realtime.room_streams import RoomStreams
from ...realtime.room_subscription import Identity, members_only
from ...storage.database import Database, Transaction
from ..auth.authenticator import CityAuthenticator
from ..auth.authors import ActorDirectory
from ..auth.origins import Origins
from ..auth.principals import Anonymous, Principal, is_admin
from ..auth.principals import reader as principal_reader
from ..routes.members import ReadReceipt
from ..routes.messages import NewMessage
from ..routing import Body, check_text
from ..views import JSON, author_view, message_view, room_view, timestamp
from .frames import text_frame
from .session import SocketRoute, SocketWriter, WebSocketSession, no_such_event, read_event

PATH: Final = "/ws/city/rooms/{room_id}"

_MAX_MESSAGE_BYTES: Final = 256 * 1024
"""A message body may have 48,000 bytes, each up to six characters long in JSON."""


class TypingEvent(Body):
    typing: bool = True


class RoomFrames:
    """Encodes room events as WebSocket frames."""

    def __init__(
        self, presence: PresenceStore, online_members: OnlineMembers, identities: Identities, now_ms: NowMs
    ) -> None:
        self._presence = presence
        self._online_members = online_members
        self._identities = identities
        self._now_ms = now_ms

    def event(self, event: RoomEvent, *, with_message: bool = True) -> bytes:
        """Encode an event of a room.

        Args:
            event: the event.
            with_message: include the message, not only its id. A replay with several events of one message includes it once.
        """
        content: JSON = {"event": event.kind, "room_id": event.room_id, "seq": event.seq}
        match event.kind:
            case RoomEventKind.JOIN | RoomEventKind.LEAVE:
                assert event.who is not None
                content |= {
                    "member": author_view(event.who, self._identities),
                    "created_at": timestamp(event.at_ms),
                    "members_online": self._online_members.members_online(event.room_id),
                }
                if event.kind is RoomEventKind.LEAVE:
                    content |= self._cause(event.removal)
            case _:
                content |= self._about_message(event, with_message=with_message)
        return _frame(content)

    def _cause(self, removal: Removal | None) -> JSON:
        """Return the fields that tell why a member left."""
        if removal is None:
            return {"cause": "left", "by": None, "reason": None}
        by = removal.by and author_view(removal.by, self._identities)
        return {"cause": removal.standing, "by": by, "reason": removal.reason}

    def changed(self, room: Room) -> bytes:
        view = room_view(room, self._online_members.members_online(room.id), self._identities)
        return _frame({"event": "city.room.updated", "room_id": room.id, "room": view})

    def _about_message(self, event: RoomEvent, *, with_message: bool) -> JSON:
        """Return the message in its current state, and the change; None for a message of a room that was emptied since."""
        message = event.message
        content: JSON = {
            "message_id": message and message.id,
            "message": message_view(message, self._identities) if message and with_message else None,
        }
        if event.who is not None:
            content |= {"by": author_view(event.who, self._identities), "created_at": timestamp(event.at_ms)}
        if event.kind is RoomEventKind.REACTION:
            content |= {"emoji": event.key, "added": event.added}
        return content

    def member(self, room: RoomId, member: Author) -> bytes:
        return _frame({"event": "city.room.member", "room_id": room, "member": author_view(member, self._identities)})

    def presence(self, room: RoomId, subject: SubjectId) -> bytes:
        return _frame(
            {
                "event": "city.room.presence",
                "room_id": room,
                "members_online": self._online_members.members_online(room),
            }
            | encode_presence(subject, self._presence.state(subject), self._now_ms())
        )

    def typing(self, room: RoomId, subjects: frozenset[SubjectId]) -> bytes:
        return _frame({"event": "city.room.typing", "room_id": room, "typing": sorted(subjects)})

    def rooms(self, rooms: Sequence[Room]) -> bytes:
        """Encode rooms in the form of ``GET /city/rooms``."""
        views = [room_view(room, self._online_members.members_online(room.id), self._identities) for room in rooms]
        return _frame({"event": "city.rooms.updated", "rooms": views})

    def rooms_resync(self) -> bytes:
        return _frame({"event": "city.rooms.resync"})

    def resync(self, room: RoomId, seq: int) -> bytes:
        return _frame({"event": "city.room.resync", "room_id": room, "seq": seq})


@dataclass(frozen=True, slots=True)
class RoomSocketParts:
    """The dependencies of a room session."""

    database: Database
    streams: RoomStreams
    messages: Messages
    typing_and_receipts: TypingAndReceipts
    authors: ActorDirectory
    readers: ReaderMemberships


class RoomSocket(SocketRoute):
    def __init__(
        self, city: RoomSocketParts, door: CityAuthenticator, origins: Origins, *, anonymous_read: bool
    ) -> None:
        super().__init__(PATH, door, origins, anonymous_read=anonymous_read, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._city = city

    async def conversation(self, request: web.Request, principal: Principal, since: int | None) -> WebSocketSession:
        room_name = request.match_info["room_id"]
        check_text(room_name)
        conversation = _Conversation(room_name, self._city, self._door, principal, since)
        if self.may_read(principal):
            # Before the upgrade, so that the response is a 404. Clients that may not read do not learn which rooms exist.
            await conversation.find_room()
            await conversation.check_may_look_on()
        return conversation


class _Conversation(WebSocketSession):
    def __init__(
        self, room_name: str, city: RoomSocketParts, door: CityAuthenticator, principal: Principal, since: int | None
    ) -> None:
        super().__init__(door, principal, since)
        self._room_name = room_name
        self._city = city
        self._room: RoomId | None = None
        self._is_for_members = False
        self._reader: SocketWriter | None = None

    async def find_room(self) -> RoomId:
        if self._room is None:
            async with self._city.database.reading() as tx:
                room = await tx.rooms.find(self._room_name)
                asker = await self._identify(tx, room) if room else None
            if room is None or asker is None or not self._knows_of(room, asker.reading):
                raise NotFound("no_such_room", f"there is no room {self._room_name!r}")
            self._room = room.id
            self._is_for_members = not may_subscribe(room, asker.reading)
        return self._room

    def _knows_of(self, room: Room, reading: ReadableRanges) -> bool:
        return is_known_to(room, reading) or is_admin(self.principal)

    async def check_may_look_on(self) -> None:
        """Check that the client may read the room; an anonymous client may still authenticate.

        Raises:
            Forbidden: only members may read the room, and the authenticated principal is none.
        """
        await self.find_room()
        if self._is_for_members and not self.must_sign_in:
            raise members_only(self._room_name)

    @property
    def must_sign_in(self) -> bool:
        return self._is_for_members and isinstance(self.principal, Anonymous)

    async def begin(self, reader: SocketWriter) -> None:
        self._reader = reader
        await self._city.streams.subscribe(await self.find_room(), self.since, self, self._identify)

    async def signed_in(self) -> None:
        if self._room is not None:
            await self._city.streams.identify_again(self._room, self, self._identify)

    async def _identify(self, tx: Transaction, room: Room) -> Identity:
        who, readers = principal_reader(self.principal), self._city.readers
        users = await readers.users(tx, who)
        return Identity(readers.subjects(users), await tx.membership_periods.reading(room.id, users))

    def remove(self) -> None:
        assert self._reader is not None
        self._reader.disconnect(members_only(self._room_name))

    def deliver(self, frame: bytes) -> None:
        assert self._reader is not None
        self._reader.write(frame)

    async def drained(self) -> None:
        assert self._reader is not None
        await self._reader.drained()

    @property
    def is_behind(self) -> bool:
        return self._reader is not None and self._reader.is_behind

    def end(self) -> None:
        if self._room is not None:
            self._city.streams.unsubscribe(self._room, self)

    async def take(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "city.room.send":
                await self._send(read_event(NewMessage, event))
            case "city.room.typing":
                typing = read_event(TypingEvent, event).typing
                author = self._city.authors.of(self.principal)
                await self._city.typing_and_receipts.types(author, await self.find_room(), typing=typing)
            case "city.room.read":
                message = read_event(ReadReceipt, event).message_id
                author = self._city.authors.of(self.principal)
                await self._city.typing_and_receipts.reads(author, await self.find_room(), message)
            case _:
                raise no_such_event(event)

    async def _send(self, said: NewMessage) -> None:
        """Post a message. The client receives it as a room event, with the ``client_id`` that it sent."""
        await self._city.messages.post(
            await self._city.authors.seen(self.principal),
            await self.find_room(),
            said.draft(),
        )


def _frame(content: JSON) -> bytes:
    return text_frame(encode_json(content))
