"""Types of the city: rooms, messages, members, agents and their ids.

Times are milliseconds since 1970 (``…_ms``). Each kind of id is a distinct type, so that mypy finds ids that are
swapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

AgentSlug = NewType("AgentSlug", str)
CitizenId = NewType("CitizenId", str)
RoomId = NewType("RoomId", str)
MessageId = NewType("MessageId", str)
ReactionId = NewType("ReactionId", str)
AnswerId = NewType("AnswerId", str)
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


def person_subject(user: UserId) -> SubjectId:
    return SubjectId(user)


def is_agent(subject: SubjectId) -> bool:
    return subject.startswith(AGENT_SUBJECT)


def is_person(subject: SubjectId) -> bool:
    """Whether the subject is a Matrix user, whose presence comes from the homeserver."""
    return subject.startswith("@")


class AuthorKind(StrEnum):
    """The kind of an author, which defines what the author's id is."""

    CITIZEN = "citizen"
    AGENT = "agent"
    MATRIX = "matrix"


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
    """The agent of a direct chat with a Matrix user; None for the city's public rooms."""
    in_company: bool = False
    """A direct chat with more than one person: the agent answers only mentions and replies."""
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
    encrypted: bool = False
    """Whether encryption is on in the Matrix room.

    It cannot be turned off, and the city can neither read nor write there.
    """


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
    """Whether the file belongs to a direct chat: the city fetches it for the agent of that chat only."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a message."""

    body: str
    formatted_body: str | None = None
    """The body as sanitized HTML."""
    msgtype: str = "m.text"
    media: Media | None = None
    mentions: tuple[SubjectId, ...] = ()


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

    @property
    def content(self) -> Content:
        """The content that the message shows now."""
        return Content(self.body, self.formatted_body, self.msgtype, self.media, self.mentions)


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
    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Member:
    """A joined member of a room's Matrix room, or a ghost of the city in it."""

    room_id: RoomId
    user_id: UserId
    display_name: str | None = None
    avatar_url: str | None = None


class RestrictionKind(StrEnum):
    """A membership of a ghost that differs from the room's default."""

    BANNED = "banned"
    KICKED = "kicked"
    """Removed from the room, and allowed to join again."""
    INVITED = "invited"
    """Allowed to join a room that is not public."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """A restriction of a ghost in one room, with the moderator's reason."""

    kind: RestrictionKind
    reason: str | None


class RoomEventKind(StrEnum):
    """The kinds of events of a room's history, with the names that clients receive."""

    MESSAGE = "city.room.message"
    UPDATED = "city.room.message.updated"
    DELETED = "city.room.message.deleted"
    REACTION = "city.room.reaction"
    JOIN = "city.room.join"
    LEAVE = "city.room.leave"
    RESYNC = "city.room.resync"
    """A message was inserted among older ones, which changes the numbers of those after it: clients load the room again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A kick or a ban of a member."""

    standing: RestrictionKind
    """KICKED or BANNED."""
    by: Author | None = None
    """None if the city itself removed the member."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event of a room's history. ``seq`` numbers a room's events without gaps."""

    room_id: RoomId
    seq: int
    kind: RoomEventKind
    at_ms: int
    message: Message | None = None
    """The message that was posted, edited, deleted or reacted to."""
    who: Author | None = None
    """The author of the join, leave, edit, deletion or reaction."""
    key: str | None = None
    """For REACTION, the key that was added or removed."""
    added: bool = True
    """For REACTION, whether the reaction was added; False for a removed one."""
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read the event: the room's history visibility when it happened."""
    removal: Removal | None = None
    """For LEAVE, the kick or ban; None for a member who left voluntarily."""


class ReplyFailure(StrEnum):
    """Why an agent does not reply."""

    OFFLINE = "offline"
    SLOW = "slow"
    FAILED = "failed"
    BUSY = "busy"
    PRIVATE = "private"
    """The reply would disclose the asker's private data to other members."""
    TOO_LONG = "too_long"
    TOO_MUCH = "too_much"
    """The asker exceeded the limit of questions."""
    FORGOTTEN = "forgotten"
    """The message was a command to forget, which was carried out."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A mention or direct message that an agent has yet to answer."""

    id: AnswerId
    question_id: MessageId
    room_id: RoomId
    agent: AgentSlug
    depth: int
    """The number of agents that replied before in this chain of agents."""
    asked_at_ms: int
    attempts: int = 0
    retry_at_ms: int = 0
    failure: ReplyFailure | None = None
    """Why there will be no reply; the agent has yet to post a notice of it."""


class FeedKind(StrEnum):
    """The kinds of feed entries, with the names that clients receive."""

    ROOM_MESSAGE = "room_message"
    ROOM_CREATED = "room_created"
    MEMBER_JOINED = "member_joined"
    AGENT_ONLINE = "agent_online"
    AGENT_REPLY = "agent_reply"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An entry of the feed. ``id`` is a ULID, which sorts by the time of creation."""

    id: str
    kind: FeedKind
    created_at_ms: int
    room_id: RoomId | None = None
    actor: Author | None = None
    message_id: MessageId | None = None
    """The message that the entry shows; the entry is deleted with it."""
    payload: Mapping[str, str] = field(default_factory=dict)
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read the entry, together with ``seq``, its number in the room's history, as for a message."""
    seq: int = 0
