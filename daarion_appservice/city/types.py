"""What the city is made of. Times are milliseconds since 1970 (``…_ms``); ids are distinct types so that none is swapped."""

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
"""Whoever can be present: ``u_123`` (citizen), ``agent:daarwizz``, ``@alice:example.org`` (a person on Matrix)."""

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
    """Whether it is somebody on Matrix, whose presence the homeserver tells."""
    return subject.startswith("@")


class AuthorKind(StrEnum):
    CITIZEN = "citizen"
    AGENT = "agent"
    MATRIX = "matrix"


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote. ``id`` is a citizen's id, an agent's slug or a Matrix user id, as ``kind`` says."""

    kind: AuthorKind
    id: str
    display_name: str
    avatar_url: str | None = None

    @property
    def subject(self) -> SubjectId:
        return agent_subject(AgentSlug(self.id)) if self.kind is AuthorKind.AGENT else SubjectId(self.id)


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    slug: AgentSlug
    display_name: str
    title: str = ""
    avatar: str = ""
    """An ``mxc://`` address, or the path of a picture on the service's machine."""
    node_id: str = ""
    microdao: str = ""
    role: str = ""
    rooms: tuple[str, ...] = ("general",)
    """Slugs of the rooms that it lives in."""
    kind: str = ""
    """What sort of agent it is: assistant, guardian, infra, or any other word."""
    color: str = ""
    """``#rrggbb``, or empty for none."""
    district: str = ""
    """Where it lives, if not where its node or its microDAO lies."""
    node_role: str = ""
    """What it is on its node, if ``role`` does not say it: see ``places``."""
    microdao_role: str = ""
    """The same for its microDAO."""


class MatrixStatus(StrEnum):
    """Whether a room and its Matrix room are one."""

    PENDING = "pending"
    LINKED = "linked"
    FAILED = "failed"


class HistoryVisibility(StrEnum):
    """Who may read an event, by its room's ``m.room.history_visibility`` at that time; from the widest to the narrowest."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class Room:
    id: RoomId
    slug: str
    name: str
    description: str
    is_default: bool
    archived: bool
    created_at_ms: int
    agent: AgentSlug | None = None
    """Whose direct chat with somebody on Matrix it is; the city's public rooms have none."""
    in_company: bool = False
    """Of a direct chat: more than one person is there, so what they say is not said to the agent unless they say so."""
    last_seq: int = 0
    last_event_ms: int | None = None
    matrix_room_id: MatrixRoomId | None = None
    matrix_status: MatrixStatus = MatrixStatus.PENDING
    matrix_error: str | None = None
    join_rule: str = "public"
    """Who may come in on Matrix: everybody, or whoever is invited (any other rule)."""
    history_visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read what is said there now; the city makes its rooms readable by everybody."""
    was_public: bool = True
    """Whether everybody could read what was said there at any time."""
    was_private: bool = False
    """Whether what was said there at any time is not for everybody."""
    power_levels: str = "{}"
    """Who may do what there: the content of ``m.room.power_levels``."""
    encrypted: bool = False
    """Somebody turned on encryption on Matrix: nothing can be read or written there from here, for good."""


class Delivery(StrEnum):
    """Where a message is on its way to Matrix."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Media:
    """A picture, a sound, a film or another file, as the homeserver keeps it."""

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
    """Of a direct chat: the city fetches it for nobody but the agent that was asked."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says."""

    body: str
    formatted_body: str | None = None
    """The same as HTML, of which nothing is left that could do harm."""
    msgtype: str = "m.text"
    media: Media | None = None
    mentions: tuple[SubjectId, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """What a message says, or said, after one of its edits, or at first."""

    id: str
    """Of an edit that was made in the city, the transaction id by which it is sent."""
    message_id: MessageId
    content: Content
    at_ms: int
    seq: int | None = None
    """The number of the edit in the room's history; None for the first text."""
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    event_id: EventId | None = None
    """The edit on Matrix, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """One person's one sign under a message. ``key`` is an emoji, or whatever a Matrix client sent as one."""

    id: ReactionId
    message_id: MessageId
    author: Author
    key: str
    at_ms: int
    matrix_event_id: EventId | None = None
    removed: bool = False
    """Taken back; kept until Matrix knows, too."""
    shortcode: str | None = None
    """What a picture (a ``key`` that is an ``mxc://`` address) is called."""
    matrix_key: str | None = None
    """The key as it stands in the event on Matrix, where that is not ``key``: clients there count each form for itself."""


@dataclass(frozen=True, slots=True)
class ReactionCount:
    """How many gave a message one sign, and the first of them."""

    key: str
    count: int
    by: tuple[SubjectId, ...]
    shortcode: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
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
    """Who may read it: the room's history visibility when it was written."""
    edit_seq: int | None = None
    """The number of the edit whose text it has now; None for its first text."""
    edit_visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """The room's history visibility at that edit."""

    @property
    def content(self) -> Content:
        """What it says."""
        return Content(self.body, self.formatted_body, self.msgtype, self.media, self.mentions)


class OutboxKind(StrEnum):
    """What Matrix is to be told."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETE = "delete"
    """By its author."""
    REMOVE = "remove"
    """By somebody who looks after the city."""
    REACT = "react"
    UNREACT = "unreact"
    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who has joined a room's Matrix side, or is a ghost of ours there."""

    room_id: RoomId
    user_id: UserId
    display_name: str | None = None
    avatar_url: str | None = None


class RestrictionKind(StrEnum):
    """How somebody stands in a room, if not like everybody else."""

    BANNED = "banned"
    KICKED = "kicked"
    """Put out, and may come back."""
    INVITED = "invited"
    """May come in where others may not."""


@dataclass(frozen=True, slots=True)
class Restriction:
    kind: RestrictionKind
    reason: str | None


class RoomEventKind(StrEnum):
    """Named as clients hear of them."""

    MESSAGE = "city.room.message"
    UPDATED = "city.room.message.updated"
    DELETED = "city.room.message.deleted"
    REACTION = "city.room.reaction"
    JOIN = "city.room.join"
    LEAVE = "city.room.leave"
    RESYNC = "city.room.resync"
    """A message took its place among older ones, so that those after it have other numbers: the room is to be loaded again."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A kick or a ban of a member."""

    standing: RestrictionKind
    """KICKED or BANNED."""
    by: Author | None = None
    """None for the city itself."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something that happened in a room and is part of its history: ``seq`` numbers them there, without holes."""

    room_id: RoomId
    seq: int
    kind: RoomEventKind
    at_ms: int
    message: Message | None = None
    """The message that was written, changed, deleted or reacted to."""
    who: Author | None = None
    """Who came, left, changed the message or reacted to it."""
    key: str | None = None
    """Of a REACTION: the sign that was given or taken back."""
    added: bool = True
    """Of a REACTION: given, not taken back."""
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read it: the room's history visibility when it happened."""
    removal: Removal | None = None
    """Of a LEAVE: that it was a kick or a ban; None for a member who left."""


class ReplyFailure(StrEnum):
    """Why an agent does not answer."""

    OFFLINE = "offline"
    SLOW = "slow"
    FAILED = "failed"
    BUSY = "busy"
    PRIVATE = "private"
    """It would tell others what is only the asker's."""
    TOO_LONG = "too_long"
    TOO_MUCH = "too_much"
    """The asker asks more than anybody may."""
    FORGOTTEN = "forgotten"
    """It was a command to forget, which was carried out."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """An agent was asked something in a room, and has not answered yet."""

    id: AnswerId
    question_id: MessageId
    room_id: RoomId
    agent: AgentSlug
    depth: int
    """How many agents have answered before, one because of the other."""
    asked_at_ms: int
    attempts: int = 0
    retry_at_ms: int = 0
    failure: ReplyFailure | None = None
    """Why there will be none: that it still has to say."""


class FeedKind(StrEnum):
    ROOM_MESSAGE = "room_message"
    ROOM_CREATED = "room_created"
    MEMBER_JOINED = "member_joined"
    AGENT_ONLINE = "agent_online"
    AGENT_REPLY = "agent_reply"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Something worth telling on the city's front page. ``id`` sorts by the time it was made."""

    id: str
    kind: FeedKind
    created_at_ms: int
    room_id: RoomId | None = None
    actor: Author | None = None
    message_id: MessageId | None = None
    """The message that it tells of, and goes with."""
    payload: Mapping[str, str] = field(default_factory=dict)
    visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE
    """Who may read it; with ``seq``, its place in the room's history, as of a message."""
    seq: int = 0
