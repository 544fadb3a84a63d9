"""Entries of the feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .types import Author, HistoryVisibility, MessageId, RoomId


class FeedKind(StrEnum):
    """The kinds of feed entries, with the names that clients receive."""

    ROOM_MESSAGE = "room_message"
    ROOM_CREATED = "room_created"
    MEMBER_JOINED = "member_joined"
    AGENT_ONLINE = "agent_online"
    AGENT_REPLY = "agent_reply"
    SYSTEM = "system"


UNNUMBERED: Final = (FeedKind.ROOM_CREATED, FeedKind.SYSTEM)
"""The kinds of entries that are no event of the room's history; their ``seq`` is that of the event before them."""


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
