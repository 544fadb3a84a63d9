"""The WebSocket ``/ws/city/rooms/{room_id}``: sends the events of a room, and receives messages, typing and read marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from ...city.history_visibility import ReadableRanges, is_known_to, may_subscribe
from ...city.messages import Messages
from ...city.reader_memberships import ReaderMemberships
from ...city.types import Room, RoomId
from ...city.typing_and_receipts import TypingAndReceipts
from ...errors import NotFound
from ...realtime.room_streams import RoomStreams
from ...realtime.room_subscription import Identity, members_only
from ...storage.database import Database, Transaction
from ..auth.actors import ActorDirectory
from ..auth.authenticator import CityAuthenticator
from ..auth.origins import Origins
from ..auth.principals import Anonymous, Principal, author_of, is_admin
from ..metrics import ROOM_SOCKETS
from ..routes.members import ReadReceipt
from ..routes.messages import NewMessage
from ..routing import Body
from ..validation import check_text
from .route import SocketRoute
from .session import WebSocketSession, read_event, unknown_event
from .socket_writer import SocketWriter

PATH: Final = "/ws/city/rooms/{room_id}"

_MAX_MESSAGE_BYTES: Final = 256 * 1024
"""A message body may have 48,000 bytes, each up to six characters long in JSON."""


class TypingEvent(Body):
    typing: bool = True


@dataclass(frozen=True, slots=True)
class RoomSocketParts:
    """The dependencies of a room session."""

    database: Database
    streams: RoomStreams
    messages: Messages
    typing_and_receipts: TypingAndReceipts
    actors: ActorDirectory
    readers: ReaderMemberships


class RoomSocket(SocketRoute):
    def __init__(
        self, parts: RoomSocketParts, authenticator: CityAuthenticator, origins: Origins, *, anonymous_read: bool
    ) -> None:
        super().__init__(
            PATH,
            ROOM_SOCKETS,
            authenticator,
            origins,
            anonymous_read=anonymous_read,
            max_message_bytes=_MAX_MESSAGE_BYTES,
        )
        self._parts = parts

    async def open_session(self, request: web.Request, principal: Principal, since: int | None) -> WebSocketSession:
        room_name = request.match_info["room_id"]
        check_text(room_name)
        is_batched = request.query.get("batch") == "1"
        session = _Session(room_name, self._parts, self._authenticator, principal, since, is_batched=is_batched)
        if self.may_read(principal):
            # Before the upgrade, so that the response is a 404. Clients that may not read do not learn which rooms exist.
            await session.find_room()
            await session.check_may_subscribe()
        return session


class _Session(WebSocketSession):
    def __init__(
        self,
        room_name: str,
        parts: RoomSocketParts,
        authenticator: CityAuthenticator,
        principal: Principal,
        since: int | None,
        *,
        is_batched: bool,
    ) -> None:
        super().__init__(authenticator, principal, since)
        self._is_batched = is_batched
        self._room_name = room_name
        self._parts = parts
        self._room: RoomId | None = None
        self._last_seq = 0
        """The newest number of the room when it was found: before the upgrade, if the client may read."""
        self._is_for_members = False
        self._writer: SocketWriter | None = None

    async def find_room(self) -> RoomId:
        if self._room is None:
            async with self._parts.database.read_only() as tx:
                room = await tx.rooms.find_shown(self._room_name)
                identity = await self._identify(tx, room) if room else None
            if room is None or identity is None or not self._is_known(room, identity.readable):
                raise NotFound("no_such_room", f"there is no room {self._room_name!r}")
            self._room, self._last_seq = room.id, room.last_seq
            self._is_for_members = not may_subscribe(room, identity.readable)
        return self._room

    def _is_known(self, room: Room, readable: ReadableRanges) -> bool:
        return is_known_to(room, readable, is_admin=is_admin(self.principal))

    async def check_may_subscribe(self) -> None:
        """Check that the client may read the room; an anonymous client may still authenticate.

        Raises:
            Forbidden: only members may read the room, and the authenticated principal is none.
        """
        await self.find_room()
        if self._is_for_members and not self.must_authenticate:
            raise members_only(self._room_name)

    @property
    def must_authenticate(self) -> bool:
        return self._is_for_members and isinstance(self.principal, Anonymous)

    async def start(self, writer: SocketWriter) -> None:
        self._writer = writer
        room = await self.find_room()
        # A client relies on the events after the response to its request, though the subscription takes a while.
        since = self._last_seq if self.since is None else self.since
        await self._parts.streams.subscribe(room, since, writer, self._identify, is_batched=self._is_batched)

    async def principal_changed(self) -> None:
        if self._room is not None and self._writer is not None:
            await self._parts.streams.identify_again(self._room, self._writer)

    async def _identify(self, tx: Transaction, room: Room) -> Identity:
        readers = self._parts.readers
        users = await readers.users(tx, author_of(self.principal))
        return Identity(readers.subjects(users), await tx.membership_periods.readable_ranges(room.id, users))

    def stop(self) -> None:
        if self._room is not None and self._writer is not None:
            self._parts.streams.unsubscribe(self._room, self._writer)

    async def handle_event(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "city.room.send":
                await self._send(read_event(NewMessage, event))
            case "city.room.typing":
                typing = read_event(TypingEvent, event).typing
                author = self._parts.actors.of(self.principal)
                await self._parts.typing_and_receipts.set_typing(author, await self.find_room(), typing=typing)
            case "city.room.read":
                message = read_event(ReadReceipt, event).message_id
                author = self._parts.actors.of(self.principal)
                await self._parts.typing_and_receipts.mark_read(author, await self.find_room(), message)
            case _:
                raise unknown_event(event)

    async def _send(self, message: NewMessage) -> None:
        """Post a message. The client receives it as a room event, with the ``client_id`` that it sent."""
        await self._parts.messages.post(
            await self._parts.actors.with_avatar(self.principal),
            await self.find_room(),
            message.draft(),
        )
