"""Events of the city that the bus publishes.

They are published after the transaction that stores the change, never before.
"""

from __future__ import annotations

from dataclasses import dataclass

from .presence import Transition
from .receipts import NamedReceipt
from .room_events import RoomEvent
from .types import AgentSlug, Author, CitizenId, EventId, Message, MessageId, Room, RoomId, SubjectId


@dataclass(frozen=True, slots=True)
class MessagePosted:
    """A message was stored, posted in the city or received from Matrix."""

    message: Message
    mentioned: frozenset[SubjectId] = frozenset()
    """The people whom it mentions or replies to: see ``unread.mentioned_people``."""


@dataclass(frozen=True, slots=True)
class RegistryChanged:
    """Agents, tokens or rooms were added, removed or changed, or dead letters were requeued."""


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """A room's name, description or state changed. This is not an event of the room's history."""

    room: Room


@dataclass(frozen=True, slots=True)
class RoomRemoved:
    """A room was removed with its messages. Published again by the leader, which sees removals by the command line."""

    room_id: RoomId


@dataclass(frozen=True, slots=True)
class RoomCheckRequested:
    """Something may have made a room differ from its Matrix room: the reconciler must check it."""

    room_id: RoomId


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """A subject joined or left a room."""

    room_id: RoomId
    subject: SubjectId
    joined: bool


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A member changed the display name or avatar."""

    room_id: RoomId
    member: Author


@dataclass(frozen=True, slots=True)
class RoomEventStored:
    """An event other than a new message was added to a room's history."""

    event: RoomEvent
    mentioned: frozenset[SubjectId] = frozenset()
    """For an edit, the people whom the message mentions now and did not mention before."""


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """The presence that the city shows of a subject changed.

    ``seq`` increases with each change, not always by one, and is the same in every process of the city.
    """

    transition: Transition
    seq: int


@dataclass(frozen=True, slots=True)
class PresenceRenumbered:
    """Changes up to ``seq`` are no longer available one by one: clients with an older number must load all again."""

    seq: int


@dataclass(frozen=True, slots=True)
class TypingChanged:
    """The Matrix users who are typing in a room changed. ``typing`` has all of them, without ghosts."""

    room_id: RoomId
    typing: frozenset[SubjectId]


@dataclass(frozen=True, slots=True)
class LocalUserTyping:
    """A citizen or agent started, continued or stopped typing in a room.

    Typing ends by itself after a time without this event.
    """

    room_id: RoomId
    author: Author
    typing: bool


@dataclass(frozen=True, slots=True)
class LocalUserRead:
    """A citizen or agent has read a room up to a message, whose number in the room's history is ``seq``."""

    room_id: RoomId
    author: Author
    message_id: MessageId
    seq: int
    thread_root: MessageId | None = None
    """The root of the thread that the message belongs to."""


@dataclass(frozen=True, slots=True)
class NotificationModeChanged:
    """A citizen chose which messages of a room notify."""

    room_id: RoomId
    citizen: CitizenId


@dataclass(frozen=True, slots=True)
class ReceiptsChanged:
    """Members have read a room up to newer messages; their receipts are stored."""

    room_id: RoomId
    receipts: tuple[NamedReceipt, ...]


@dataclass(frozen=True, slots=True)
class InboxChanged:
    """Events of the homeserver were stored in the inbox for the inbound worker."""


@dataclass(frozen=True, slots=True)
class MessageRemovalStored:
    """A user was banned or kicked together with all messages; their removal was stored for `MessageRemovals`."""


@dataclass(frozen=True, slots=True)
class OutboxChanged:
    """A change was stored in the outbox for the outbound worker."""


@dataclass(frozen=True, slots=True)
class DirectChatChanged:
    """An agent was invited to a direct chat, or a direct chat changed."""

    chat: RoomId


@dataclass(frozen=True, slots=True)
class ChatReadersChanged:
    """Other people may read a direct chat in the pages than before: its members, its kind or its encryption changed."""

    room_id: RoomId
    readers: frozenset[SubjectId] = frozenset()
    """The citizens who may read it now; empty if no citizen gained access by the change."""


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """An encrypted event was stored without its key, or a key came: events of encrypted chats may be decrypted now."""


@dataclass(frozen=True, slots=True)
class VerificationRequested:
    """A person asked an agent for a verification in a direct chat (``m.key.verification.request``)."""

    chat: RoomId
    event: EventId
    agent: AgentSlug


@dataclass(frozen=True, slots=True)
class BotChatChanged:
    """A chat of the bot has an invitation, a changed member or a command."""


@dataclass(frozen=True, slots=True)
class InvitationRejected:
    """A user of the namespace was invited to a room that it does not join; the stored invitation must be declined."""


@dataclass(frozen=True, slots=True)
class RepliesPending:
    """Pending replies were stored for the reply worker."""


@dataclass(frozen=True, slots=True)
class AccountsChanged:
    """A citizen was linked with a Matrix account or unlinked, or the profile of a linked account or a citizen changed."""


@dataclass(frozen=True, slots=True)
class CanonicalSubjectChanged:
    """A citizen has another canonical subject in this process: see ``linked_accounts``."""

    citizen: SubjectId


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """A citizen has another name or picture in this process."""

    citizen: SubjectId
    token_name: str | None = None
    """The name in the citizen's new token; None if that is not what changed."""


@dataclass(frozen=True, slots=True)
class BusEventsLost:
    """Events of other processes may be lost: every cache in memory must be loaded again."""


CityEvent = (
    MessagePosted
    | RegistryChanged
    | RoomChanged
    | RoomRemoved
    | RoomCheckRequested
    | MembershipChanged
    | MemberChanged
    | RoomEventStored
    | PresenceChanged
    | PresenceRenumbered
    | TypingChanged
    | LocalUserTyping
    | LocalUserRead
    | NotificationModeChanged
    | ReceiptsChanged
    | InboxChanged
    | MessageRemovalStored
    | OutboxChanged
    | RepliesPending
    | DirectChatChanged
    | ChatReadersChanged
    | BotChatChanged
    | KeysChanged
    | VerificationRequested
    | InvitationRejected
    | AccountsChanged
    | CanonicalSubjectChanged
    | ProfileChanged
    | BusEventsLost
)
