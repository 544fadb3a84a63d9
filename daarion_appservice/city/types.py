"""Types of the city: ids, authors, agents, rooms, members, and messages with their media, edits and reactions.

Times are milliseconds since 1970 (``…_ms``). Each kind of id is a distinct type, so that mypy finds ids that are
swapped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType

from .message_kinds import NO_DETAILS, Details, PollResults

AgentSlug = NewType("AgentSlug", str)
CitizenId = NewType("CitizenId", str)
RoomId = NewType("RoomId", str)
MessageId = NewType("MessageId", str)
ReactionId = NewType("ReactionId", str)
SubjectId = NewType("SubjectId", str)
"""An inhabitant of any kind: ``u_123`` (citizen), ``agent:daarwizz`` or ``@alice:example.org`` (Matrix user)."""

UserId = NewType("UserId", str)
"""A Matrix user id."""
MatrixRoomId = NewType("MatrixRoomId", str)
EventId = NewType("EventId", str)


AGENT_SUBJECT = "agent:"


def agent_subject(slug: AgentSlug) -> SubjectId:
    return SubjectId(AGENT_SUBJECT + slug)


def citizen_subject(citizen: CitizenId) -> SubjectId:
    return SubjectId(citizen)


def user_subject(user: UserId) -> SubjectId:
    return SubjectId(user)


def is_agent(subject: SubjectId) -> bool:
    return subject.startswith(AGENT_SUBJECT)


def is_person(subject: SubjectId) -> bool:
    """Return whether the subject is a Matrix user, whose presence comes from the homeserver."""
    return subject.startswith("@")


class AuthorKind(StrEnum):
    """The kind of an author, which defines what the author's id is."""

    CITIZEN = "citizen"
    AGENT = "agent"
    MATRIX = "matrix"


def author_key(subject: SubjectId) -> tuple[AuthorKind, str]:
    """Return the kind and id of a subject as an author, whether or not it still is a valid one."""
    if is_agent(subject):
        return AuthorKind.AGENT, subject.removeprefix(AGENT_SUBJECT)
    return (AuthorKind.MATRIX if is_person(subject) else AuthorKind.CITIZEN), subject


@dataclass(frozen=True, slots=True)
class Author:
    """The author of a message or reaction.

    ``id`` is a citizen's id, an agent's slug or a Matrix user id, according to ``kind``.
    """

    kind: AuthorKind
    id: str
    display_name: str
    avatar_url: str | None = None

    @property
    def subject(self) -> SubjectId:
        return agent_subject(AgentSlug(self.id)) if self.kind is AuthorKind.AGENT else SubjectId(self.id)


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered AI inhabitant of the city."""

    id: str
    slug: AgentSlug
    display_name: str
    title: str = ""
    avatar: str = ""
    """An ``mxc://`` URI, or the path of an image file on the service's machine."""
    node_id: str = ""
    microdao: str = ""
    role: str = ""
    rooms: tuple[str, ...] = ("general",)
    """Slugs of the rooms that the agent is a member of."""
    kind: str = ""
    """The kind of agent: assistant, guardian, infra, or any other word."""
    color: str = ""
    """``#rrggbb``, or empty for none."""
    district: str = ""
    """The agent's district, if it differs from that of its node or microDAO."""
    node_role: str = ""
    """The agent's role on its node, if ``role`` does not name it: see ``places``."""
    microdao_role: str = ""
    """The agent's role in its microDAO, if ``role`` does not name it."""


class MatrixStatus(StrEnum):
    """The state of the link between a city room and its Matrix room."""

    PENDING = "pending"
    LINKED = "linked"
    FAILED = "failed"


class HistoryVisibility(StrEnum):
    """The ``m.room.history_visibility`` that decides who may read an event, from the widest to the narrowest."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class Room:
    """A city room or a direct chat, linked with one Matrix room."""

    id: RoomId
    slug: str
    name: str
    description: str
    is_default: bool
    archived: bool
    created_at_ms: int
    agent: AgentSlug | None = None
    """The agent as whose ghost the service reads a direct chat, one of its agents; None for the city's public rooms."""
    is_group: bool = False
    """A direct chat with more than one person or agent: its agents reply only to mentions and replies.

    The ghost of a person who writes in the chat from the pages does not count as another person.
    """
    is_direct: bool = False
    """A private room of a citizen with another citizen or an agent, which no list of rooms has: see ``citizen_chats``."""
    last_seq: int = 0
    last_event_ms: int | None = None
    matrix_room_id: MatrixRoomId | None = None
    matrix_status: MatrixStatus = MatrixStatus.PENDING
    matrix_error: str | None = None
    join_rule: str = "public"
    """The ``m.room.join_rules`` of the Matrix room; only ``public`` lets users join without an invitation."""
    history_visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read new messages; the city creates its rooms as world-readable."""
    was_public: bool = True
    """Whether messages of any time were world-readable."""
    was_private: bool = False
    """Whether messages of any time were not world-readable."""
    power_levels: str = "{}"
    """The content of ``m.room.power_levels`` as JSON."""
    pinned_events: str | None = None
    """The event ids of ``m.room.pinned_events`` as JSON; None until the state of the Matrix room was read."""
    avatar_url: str | None = None
    """The ``mxc://`` URI of the room's picture; None for the house that the service draws."""
    encrypted: bool = False
    """Whether encryption is on in the Matrix room.

    It cannot be turned off. The city can neither read nor write in such a room of its own; agents can in direct chats.
    """

    @property
    def shown_name(self) -> str:
        """The name for clients; empty for a chat that was opened on Matrix, whose stored name is its inviter's user id."""
        return self.name if self.agent is None else ""

    @property
    def is_of_two(self) -> bool:
        """Whether the room has two inhabitants: a citizen and another one, or a person and an agent."""
        return self.is_direct or (self.agent is not None and not self.is_group)


class Delivery(StrEnum):
    """The state of a message's delivery to Matrix."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Media:
    """An image, audio, video or other file in the homeserver's media repository."""

    mxc: str
    mimetype: str
    filename: str
    size: int | None = None
    """Bytes."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    duration_ms: int | None = None
    thumbnail_mxc: str | None = None
    is_private: bool = False
    """Whether the file belongs to a direct chat: the city fetches it for the chat's agent, and for those who read the chat."""
    is_voice: bool = False
    """Whether an audio file is a voice message (MSC3245)."""
    waveform: tuple[int, ...] = ()
    """Loudness values of an audio file, 0 to 1024 (MSC1767), at equal distances of time; none if unknown."""
    is_sticker: bool = False
    encrypted_file: str | None = None
    """The ``EncryptedFile`` of a file in an encrypted chat as JSON, with its key; ``mxc`` is the ciphertext."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a message."""

    body: str
    formatted_body: str | None = None
    """The body as sanitized HTML."""
    msgtype: str = "m.text"
    media: Media | None = None
    mentions: tuple[SubjectId, ...] = ()
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True)
class Revision:
    """The content of a message after one of its edits, or its first content."""

    id: str
    """For an edit made in the city, the transaction id with which it is sent."""
    message_id: MessageId
    content: Content
    at_ms: int
    seq: int | None = None
    """The edit's number in the room's history; None for the first content."""
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    event_id: EventId | None = None
    """The edit's event on Matrix; None while it is unknown."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """One author's reaction to a message. ``key`` is an emoji, or any string that a Matrix client sent as a key."""

    id: ReactionId
    message_id: MessageId
    author: Author
    key: str
    at_ms: int
    matrix_event_id: EventId | None = None
    removed: bool = False
    """The author removed the reaction; the row remains until Matrix has the redaction."""
    shortcode: str | None = None
    """The shortcode of an image, where ``key`` is an ``mxc://`` URI."""
    matrix_key: str | None = None
    """The key of the Matrix event, where it differs from ``key``: Matrix clients count each form of an emoji."""


@dataclass(frozen=True, slots=True)
class ReactionCount:
    """The number of reactions with one key to a message, and the first authors."""

    key: str
    count: int
    by: tuple[SubjectId, ...]
    shortcode: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """The replies of a thread, as its root shows them; deleted replies do not count."""

    count: int
    last_seq: int
    """The sequence number of the newest reply."""
    last_at_ms: int
    """The time of the newest reply in milliseconds since 1970."""
    by: tuple[Author, ...]
    """The authors of the newest replies, each once, newest first."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a room, as it is after its newest edit."""

    id: MessageId
    room_id: RoomId
    seq: int
    author: Author
    body: str
    created_at_ms: int
    formatted_body: str | None = None
    msgtype: str = "m.text"
    media: Media | None = None
    mentions: tuple[SubjectId, ...] = ()
    reply_to: MessageId | None = None
    thread_root: MessageId | None = None
    """The root of the thread that the message belongs to; None for a message of the main timeline."""
    thread_root_event: EventId | None = None
    """The event of the root as the Matrix event names it; the city may not have the root (yet)."""
    thread: ThreadSummary | None = None
    """The thread whose root this message is; None without replies."""
    reactions: tuple[ReactionCount, ...] = ()
    client_id: str | None = None
    edited_at_ms: int | None = None
    deleted: bool = False
    matrix_event_id: EventId | None = None
    delivery: Delivery = Delivery.PENDING
    delivery_error: str | None = None
    """The cause of a failed delivery: a `DeliveryError`."""
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read the message: the room's history visibility when it was written."""
    edit_seq: int | None = None
    """The number of the edit that the message shows; None for its first content."""
    edit_visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """The room's history visibility at that edit."""
    details: Details = NO_DETAILS
    poll_results: PollResults | None = None
    """The results of the message's poll; None for a message without one, or a reader who may not know them."""

    @property
    def content(self) -> Content:
        """The content that the message shows now."""
        return Content(self.body, self.formatted_body, self.msgtype, self.media, self.mentions, self.details)

    def with_content(self, content: Content) -> Message:
        """Return the message with another content."""
        return replace(
            self,
            body=content.body,
            formatted_body=content.formatted_body,
            msgtype=content.msgtype,
            media=content.media,
            mentions=content.mentions,
            details=content.details,
        )


class OutboxKind(StrEnum):
    """The kind of change that the outbox sends to Matrix."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETE = "delete"
    """The author deletes the message."""
    REMOVE = "remove"
    """A moderator or admin of the city deletes the message."""
    REACT = "react"
    UNREACT = "unreact"
    VOTE = "vote"
    END_POLL = "end_poll"
    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Member:
    """A joined member of a room's Matrix room, or a ghost of the city in it."""

    room_id: RoomId
    user_id: UserId
    display_name: str | None = None
    avatar_url: str | None = None
