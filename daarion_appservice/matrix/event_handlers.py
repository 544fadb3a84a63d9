"""What each kind of event from Matrix means to the city. Each runs inside the transaction that marks its event done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..city.events import CityEvent
from ..city.messages import Messages
from ..city.types import Author, EventId, MatrixRoomId, Member, MessageId, Room, UserId
from ..storage.database import Transaction
from .namespace import Namespace, Staff, is_user_id
from .room_members import RoomMembers

MESSAGE_ID: Final = "space.daarion.message_id"
"""In the content of events that we send: which message of the city it is. So an echo is known even when the answer to our
request never reached us."""

_TEXTS: Final = frozenset({"m.text", "m.notice"})

_MAX_ID_CHARS: Final = 255

Event = dict[str, Any]
Handler = Callable[[Transaction, Room, Event], Awaitable[list[CityEvent]]]


class EventHandlers:
    def __init__(self, namespace: Namespace, messages: Messages, members: RoomMembers) -> None:
        self._namespace = namespace
        self._messages = messages
        self._members = members
        self._handlers: dict[str, Handler] = {
            "m.room.message": self._message,
            "m.room.member": self._member,
            "m.room.name": self._name,
            "m.room.topic": self._topic,
        }

    async def handle(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Take one event into the city; returns what to publish once the transaction is committed.

        Events of other kinds and of rooms that are not the city's are nothing to it.
        """
        handler = self._handlers.get(_text(event, "type"))
        if handler is None or not _is_signed(event):
            return []
        room = await tx.rooms.by_matrix_id(MatrixRoomId(_text(event, "room_id")))
        if room is None:
            return []
        return await handler(tx, room, event)

    async def _message(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        sender, event_id = UserId(_text(event, "sender")), EventId(_text(event, "event_id"))
        content = _content(event)
        if self._namespace.is_ours(sender) and await _recognise(tx, event_id, content):
            return []
        if room.archived:
            # It can be read, but not written to, from whichever side.
            return []
        posted = await self.take_message(tx, room, event)
        return [posted] if posted else []

    async def take_message(
        self, tx: Transaction, room: Room, event: Event, *, is_history: bool = False
    ) -> CityEvent | None:
        """Post what somebody wrote on Matrix; None when it is no text, or here already."""
        content, who = _content(event), self._namespace.who(UserId(_text(event, "sender")))
        msgtype, body = content.get("msgtype"), content.get("body")
        # An edit repeats the whole message; taken as a new one it would stand there twice.
        is_edit = _relation(content).get("rel_type") == "m.replace"
        if not isinstance(msgtype, str) or msgtype not in _TEXTS:
            return None
        if not isinstance(body, str) or is_edit or isinstance(who, Staff):
            return None
        kind, author_id = who
        member = await tx.members.get(room.id, UserId(_text(event, "sender")))
        author = Author(
            kind, author_id, (member and member.display_name) or author_id, member.avatar_url if member else None
        )
        return await self._messages.receive(
            tx,
            room,
            author,
            storable(body),
            msgtype=msgtype,
            event_id=EventId(_text(event, "event_id")),
            created_at_ms=_time_ms(event),
            is_history=is_history,
        )

    async def _member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        user, content = UserId(_text(event, "state_key")), _content(event)
        if not is_user_id(user) or self._namespace.subject(user) is None:
            return []
        joined = content.get("membership") == "join"
        if not joined:
            return await self._members.leave(tx, room.id, [user])
        member = Member(room.id, user, _optional(content, "displayname"), _optional(content, "avatar_url"))
        return await self._members.join(tx, room.id, [member])

    async def _name(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        name = _optional(_content(event), "name")
        if name and event.get("state_key") == "" and not self._is_own(event):
            await tx.rooms.follow(room.id, name=name)
        return []

    async def _topic(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        topic = _optional(_content(event), "topic")
        if topic is not None and event.get("state_key") == "" and not self._is_own(event):
            await tx.rooms.follow(room.id, description=topic)
        return []

    def _is_own(self, event: Event) -> bool:
        return self._namespace.is_ours(UserId(_text(event, "sender")))


async def _recognise(tx: Transaction, event_id: EventId, content: dict[str, Any]) -> bool:
    """Whether this is a message of the city coming back; if so, it has arrived."""
    message_id = _optional(content, MESSAGE_ID)
    if message_id is None:
        return False
    message = await tx.messages.get(MessageId(message_id))
    if message is None:
        return False
    if message.matrix_event_id is None:
        await tx.messages.delivered(message.id, event_id)
        await tx.outbox.sent(message.id)
    return True


def storable(text: str) -> str:
    """PostgreSQL holds no U+0000, which Matrix allows."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _is_signed(event: Event) -> bool:
    """Whether it says who sent it, and has an id: no real event lacks either, but nothing must break without."""
    return is_user_id(_text(event, "sender")) and 0 < len(_text(event, "event_id")) <= _MAX_ID_CHARS


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return storable(value) if isinstance(value, str) else ""


def _optional(content: dict[str, Any], key: str) -> str | None:
    value = content.get(key)
    return storable(value) if isinstance(value, str) else None


def _content(event: Event) -> dict[str, Any]:
    content = event.get("content")
    return content if isinstance(content, dict) else {}


def _relation(content: dict[str, Any]) -> dict[str, Any]:
    relation = content.get("m.relates_to")
    return relation if isinstance(relation, dict) else {}


def _time_ms(event: Event) -> int:
    """``origin_server_ts`` is whatever the sender's server says; kept within what a 64-bit column and a date can hold."""
    value = event.get("origin_server_ts")
    return min(max(value, 0), 253_402_300_799_000) if isinstance(value, int) else 0
