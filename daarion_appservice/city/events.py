"""What happens in the city and others may want to know at once. Published after the fact is stored, never before."""

from __future__ import annotations

from dataclasses import dataclass

from .presence import Transition
from .types import Author, Message, MessageId, Room, RoomEvent, RoomId, SubjectId


@dataclass(frozen=True, slots=True)
class MessagePosted:
    """A message is in the city, from whichever side it came."""

    message: Message


@dataclass(frozen=True, slots=True)
class RegistryChanged:
    """Agents, tokens or rooms came, went, or are described differently now; or dead events live again."""


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """A room is called, described, or doing differently now; it is no part of the room's history."""

    room: Room


@dataclass(frozen=True, slots=True)
class RoomCheckRequested:
    """Something happened that may have put a room and its Matrix room apart: somebody has to look."""

    room_id: RoomId


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    room_id: RoomId
    subject: SubjectId
    joined: bool


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A member has another name or picture."""

    room_id: RoomId
    member: Author


@dataclass(frozen=True, slots=True)
class RoomEventStored:
    """A room's history goes on, other than by a message."""

    event: RoomEvent


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """``seq`` numbers the changes; it goes up, not always by one, and is the same in every process of the city."""

    transition: Transition
    seq: int


@dataclass(frozen=True, slots=True)
class PresenceRenumbered:
    """Changes up to ``seq`` can no longer be told one by one: whoever knows an earlier number starts afresh."""

    seq: int


@dataclass(frozen=True, slots=True)
class TypingChanged:
    """``typing`` is everybody on Matrix who is typing in the room now; ghosts of the city are not among them."""

    room_id: RoomId
    typing: frozenset[SubjectId]


@dataclass(frozen=True, slots=True)
class LocalUserTyping:
    """A citizen or an agent began to type in a room, goes on, or stopped. Who says nothing more for a while has stopped."""

    room_id: RoomId
    author: Author
    typing: bool


@dataclass(frozen=True, slots=True)
class LocalUserRead:
    """A citizen or an agent has read a room up to a message, which is number ``seq`` of its history."""

    room_id: RoomId
    author: Author
    message_id: MessageId
    seq: int


@dataclass(frozen=True, slots=True)
class InboxChanged:
    """Events of the homeserver were stored, and wait for whoever handles them."""


@dataclass(frozen=True, slots=True)
class OutboxChanged:
    """Something was stored that Matrix is to be told."""


@dataclass(frozen=True, slots=True)
class DirectChatChanged:
    """An agent was invited to a chat, or the chat is not what it was."""

    chat: RoomId


@dataclass(frozen=True, slots=True)
class InvitationRejected:
    """One of our users is invited where it does not come; that is stored, and waits to be declined."""


@dataclass(frozen=True, slots=True)
class RepliesPending:
    """Agents were asked something; it is stored, and waits for whoever has it answered."""


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """Things may have happened in other processes of the city that nobody here heard of: read anew what is kept in memory."""


CityEvent = (
    MessagePosted
    | RegistryChanged
    | RoomChanged
    | RoomCheckRequested
    | MembershipChanged
    | MemberChanged
    | RoomEventStored
    | PresenceChanged
    | PresenceRenumbered
    | TypingChanged
    | LocalUserTyping
    | LocalUserRead
    | InboxChanged
    | OutboxChanged
    | RepliesPending
    | DirectChatChanged
    | InvitationRejected
    | EventsMissed
)
