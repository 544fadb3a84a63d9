"""Events of a room's history: messages, their changes, joins and leaves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .restrictions import RestrictionKind
from .types import Author, HistoryVisibility, Message, RoomId


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

    kind: RestrictionKind
    """KICKED or BANNED."""
    by: Author | None = None
    """None if the city itself removed the member."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event of a room's history. ``seq`` numbers a room's events without gaps, but for one after each restored backup."""

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
