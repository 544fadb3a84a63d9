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
SubjectId = NewType("SubjectId", str)
"""Whoever can be present: ``u_123`` (citizen), ``agent:daarwizz``, ``@alice:example.org`` (a person on Matrix)."""

UserId = NewType("UserId", str)
"""A Matrix user id."""
MatrixRoomId = NewType("MatrixRoomId", str)
EventId = NewType("EventId", str)


def agent_subject(slug: AgentSlug) -> SubjectId:
    return SubjectId(f"agent:{slug}")


def citizen_subject(citizen: CitizenId) -> SubjectId:
    return SubjectId(citizen)


def person_subject(user: UserId) -> SubjectId:
    return SubjectId(user)


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


class MatrixStatus(StrEnum):
    """Whether a room and its Matrix room are one."""

    PENDING = "pending"
    LINKED = "linked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Room:
    id: RoomId
    slug: str
    name: str
    description: str
    is_default: bool
    archived: bool
    created_at_ms: int
    last_seq: int = 0
    last_event_ms: int | None = None
    matrix_room_id: MatrixRoomId | None = None
    matrix_status: MatrixStatus = MatrixStatus.PENDING
    matrix_error: str | None = None


class Delivery(StrEnum):
    """Where a message is on its way to Matrix."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


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
    reply_to: MessageId | None = None
    client_id: str | None = None
    edited_at_ms: int | None = None
    deleted: bool = False
    matrix_event_id: EventId | None = None
    delivery: Delivery = Delivery.PENDING


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who has joined a room's Matrix side, or is a ghost of ours there."""

    room_id: RoomId
    user_id: UserId
    display_name: str | None = None
    avatar_url: str | None = None


class RoomEventKind(StrEnum):
    """Named as clients hear of them."""

    MESSAGE = "city.room.message"
    JOIN = "city.room.join"
    LEAVE = "city.room.leave"


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something that happened in a room and is part of its history: ``seq`` numbers them there, without holes."""

    room_id: RoomId
    seq: int
    kind: RoomEventKind
    at_ms: int
    message: Message | None = None
    """Of a MESSAGE."""
    who: Author | None = None
    """Who came or left."""


class FeedKind(StrEnum):
    ROOM_MESSAGE = "room_message"
    ROOM_CREATED = "room_created"
    MEMBER_JOINED = "member_joined"
    AGENT_ONLINE = "agent_online"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Something worth telling on the city's front page. ``id`` sorts by the time it was made."""

    id: str
    kind: FeedKind
    created_at_ms: int
    room_id: RoomId | None = None
    actor: Author | None = None
    payload: Mapping[str, str] = field(default_factory=dict)
