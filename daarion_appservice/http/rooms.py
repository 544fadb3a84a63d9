"""``/city/rooms``: rooms and what is said in them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..city.events import InhabitantTyping
from ..city.messages import Messages
from ..city.occupancy import Occupancy
from ..city.ports import NowMs, PresenceStore, Publish
from ..city.rooms import Rooms
from ..city.types import Room, SubjectId, UserId
from ..errors import NotFound
from ..matrix.namespace import Namespace
from ..realtime.room_typing import LASTS_S
from ..storage.database import Database
from .authors import Authors
from .endpoint import Answer, Body, Call, NoBody, NoQuery, Query, endpoint
from .principals import Access, Citizen
from .views import JSON, message_view, presence_fields, room_view

_LAST_MESSAGES = 50
_MAX_ONLINE_MEMBERS = 200
"""How many members are listed with a room; ``members_online`` counts them all."""


class RoomList(Query):
    sort: Literal["popular", "recent", "name"] = "popular"
    limit: int = Field(100, ge=1, le=500)
    offset: int = Field(0, ge=0, le=1_000_000)


class NewRoom(Body):
    name: str = Field(min_length=1, max_length=255)
    description: str = Field("", max_length=2000)
    slug: str | None = Field(None, max_length=64)


class MessageList(Query):
    before: int | None = Field(None, ge=-(1 << 53), le=1 << 53, description="Messages whose seq is lower than this.")
    limit: int = Field(50, ge=1, le=200)


class NewMessage(Body):
    body: str
    reply_to: str | None = Field(None, max_length=64)
    client_id: str | None = Field(None, min_length=1, max_length=255)


class TypingState(Body):
    typing: bool = True


class RoomRoutes:
    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        messages: Messages,
        publish: Publish,
        authors: Authors,
        presence: PresenceStore,
        occupancy: Occupancy,
        namespace: Namespace,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._messages = messages
        self._publish = publish
        self._authors = authors
        self._presence = presence
        self._occupancy = occupancy
        self._namespace = namespace
        self._now_ms = now_ms

    @endpoint("GET", "/city/rooms", who=Access.READERS, query=RoomList)
    async def list_rooms(self, call: Call[NoBody, RoomList]) -> list[JSON]:
        async with self._database.reading() as tx:
            rooms = await tx.rooms.page(sort=call.query.sort, limit=call.query.limit, offset=call.query.offset)
        return [self._view(room) for room in rooms]

    @endpoint("POST", "/city/rooms", who=Access.CITIZENS, body=NewRoom, status=201)
    async def open_room(self, call: Call[NewRoom, NoQuery]) -> JSON:
        created_by = call.principal.id if isinstance(call.principal, Citizen) else None
        room = await self._rooms.open(call.body.name, call.body.description, slug=call.body.slug, created_by=created_by)
        return self._view(room)

    @endpoint("GET", "/city/rooms/{room_id}", who=Access.READERS)
    async def show_room(self, call: Call[NoBody, NoQuery]) -> JSON:
        async with self._database.reading() as tx:
            room = await tx.rooms.find(call.path["room_id"])
            if room is None:
                raise NotFound("no_such_room", f"there is no room {call.path['room_id']!r}")
            messages = await tx.messages.before(room.id, None, limit=_LAST_MESSAGES)
            online = sorted(self._occupancy.online_members(room.id))[:_MAX_ONLINE_MEMBERS]
            users = [self._namespace.user(subject) for subject in online]
            names = {member.user_id: member.display_name for member in await tx.members.some(room.id, users)}
        now_ms = self._now_ms()
        return self._view(room) | {
            "messages": [message_view(message, self._namespace) for message in messages],
            "online_members": [
                self._member(subject, user, names.get(user), now_ms)
                for subject, user in zip(online, users, strict=True)
            ],
        }

    @endpoint("GET", "/city/rooms/{room_id}/messages", who=Access.READERS, query=MessageList)
    async def list_messages(self, call: Call[NoBody, MessageList]) -> list[JSON]:
        async with self._database.reading() as tx:
            room = await tx.rooms.find(call.path["room_id"])
            if room is None:
                raise NotFound("no_such_room", f"there is no room {call.path['room_id']!r}")
            messages = await tx.messages.before(room.id, call.query.before, limit=call.query.limit)
        return [message_view(message, self._namespace) for message in messages]

    @endpoint("POST", "/city/rooms/{room_id}/messages", who=Access.INHABITANTS, body=NewMessage, status=201)
    async def post_message(self, call: Call[NewMessage, NoQuery]) -> Answer:
        posted = await self._messages.post(
            self._authors.of(call.principal),
            call.path["room_id"],
            call.body.body,
            reply_to=call.body.reply_to,
            client_id=call.body.client_id,
        )
        return Answer(message_view(posted.message, self._namespace), status=201 if posted.is_new else 200)

    @endpoint("PUT", "/city/rooms/{room_id}/typing", who=Access.INHABITANTS, body=TypingState)
    async def type(self, call: Call[TypingState, NoQuery]) -> JSON:
        author = self._authors.of(call.principal)
        async with self._database.reading() as tx:
            room = await tx.rooms.find(call.path["room_id"])
        if room is None:
            raise NotFound("no_such_room", f"there is no room {call.path['room_id']!r}")
        self._publish(InhabitantTyping(room.id, author, call.body.typing))
        return {"typing": call.body.typing, "expires_in_ms": int(LASTS_S * 1000) if call.body.typing else 0}

    def _view(self, room: Room) -> JSON:
        return room_view(room, self._occupancy.members_online(room.id), self._namespace)

    def _member(self, subject: SubjectId, user: UserId, name: str | None, now_ms: int) -> JSON:
        who = self._namespace.who(user)
        assert isinstance(who, tuple)
        kind, member_id = who
        return {
            "kind": kind,
            "id": member_id,
            "display_name": name or member_id,
            "matrix_user_id": user,
            **presence_fields(self._presence.shown(subject), now_ms),
        }
