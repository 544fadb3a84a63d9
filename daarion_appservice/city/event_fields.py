"""Reading events: whatever a server sends, none of it breaks anything, and all of it can be stored."""

from __future__ import annotations

from typing import Any, Final

from .identity import is_user_id
from .text_sanitizing import MAX_TOPIC_CHARS, one_line, storable
from .types import EventId, MatrixRoomId, UserId

MESSAGE_ID: Final = "space.daarion.message_id"
"""In the content of events that we send: which message of the city it is, or is about. So an echo is known even when the
answer to our request never reached us."""
EDIT_ID: Final = "space.daarion.edit_id"
"""The same for edits, beside the id of the message that is edited."""
REACTION_ID: Final = "space.daarion.reaction_id"
"""The same for reactions."""

POLLS: Final = frozenset({"m.poll.start", "org.matrix.msc3381.poll.start"})
"""The stable and the unstable type of the event that starts a poll (MSC3381)."""
MESSAGES: Final = frozenset({"m.room.message", "m.sticker", *POLLS})
"""The types of events that become a message in the city."""
SAID: Final = MESSAGES | {"m.reaction", "m.room.redaction"}
"""What people say, and what becomes of it; it counts also in a room that was replaced by another."""

_MAX_ID_CHARS: Final = 255

Event = dict[str, Any]


def text(event: Event, key: str) -> str:
    value = event.get(key)
    return storable(value) if isinstance(value, str) else ""


def optional_text(content: Event, key: str) -> str | None:
    value = content.get(key)
    return storable(value) if isinstance(value, str) else None


def name_text(content: Event, key: str) -> str | None:
    """The name of a person or a room as it is shown (``texts.one_line``): another server may send 60,000 characters."""
    value = content.get(key)
    return one_line(value) if isinstance(value, str) else None


def topic_text(content: Event, key: str) -> str | None:
    """The description of a room, cut to as many characters as the API takes."""
    value = optional_text(content, key)
    return value if value is None else value[:MAX_TOPIC_CHARS]


def inner(content: Event, key: str) -> Event:
    """The object under ``key``; empty when there is none."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def content_of(event: Event) -> Event:
    return inner(event, "content")


def type_of(event: Event) -> str:
    return text(event, "type")


def sender_of(event: Event) -> UserId:
    return UserId(text(event, "sender"))


def room_of(event: Event) -> MatrixRoomId:
    return MatrixRoomId(text(event, "room_id"))


def event_id_of(event: Event) -> EventId:
    return EventId(text(event, "event_id"))


def is_signed(event: Event) -> bool:
    """Whether it says who sent it, and has an id: no real event lacks either, but nothing must break without."""
    return is_user_id(text(event, "sender")) and 0 < len(text(event, "event_id")) <= _MAX_ID_CHARS


def time_ms(event: Event) -> int:
    """``origin_server_ts`` is whatever the sender's server says; kept within what a 64-bit column and a date can hold.

    When something was said is decided by ``city.times.plausible_ms``.
    """
    value = event.get("origin_server_ts")
    return min(max(value, 0), 253_402_300_799_000) if type(value) is int else 0
