"""Reading fields of Matrix events.

Servers may send any JSON: the functions never fail, and return values that can be stored.
"""

from __future__ import annotations

from typing import Any, Final

from .identity import is_user_id
from .text_sanitizing import MAX_TOPIC_CHARS, one_line, storable
from .types import EventId, MatrixRoomId, UserId

MESSAGE_ID: Final = "space.daarion.message_id"
"""Key in the content of events that the city sends, with the id of the message that the event is or refers to.

It identifies the echo of an event even if the response to the city's request was lost.
"""
EDIT_ID: Final = "space.daarion.edit_id"
"""Key for the id of an edit, beside the id of the edited message."""
REACTION_ID: Final = "space.daarion.reaction_id"
"""Key for the id of a reaction."""
ENCRYPTED_FILE: Final = "space.daarion.encrypted_file"
"""Key in the content of a decrypted message, for the ``EncryptedFile`` of its file as JSON. No event is sent with it."""
RESPONSE_ID: Final = "space.daarion.poll_response_id"
"""Key for the id of a vote in a poll, or of its end."""

ENCRYPTED: Final = "m.room.encrypted"
"""The type of encrypted events, in rooms and to devices."""
POLLS: Final = frozenset({"m.poll.start", "org.matrix.msc3381.poll.start"})
"""The stable and the unstable type of the event that starts a poll (MSC3381)."""
MESSAGES: Final = frozenset({"m.room.message", "m.sticker", *POLLS})
"""Types of events that become a message in the city."""
VOTES: Final = frozenset({"m.poll.response", "org.matrix.msc3381.poll.response"})
"""The stable and the unstable type of a vote in a poll."""
POLL_ENDS: Final = frozenset({"m.poll.end", "org.matrix.msc3381.poll.end"})
"""The stable and the unstable type of the event that ends a poll."""
RESPONSES: Final = VOTES | POLL_ENDS
MESSAGES_AND_CHANGES: Final = MESSAGES | RESPONSES | {"m.reaction", "m.room.redaction"}
"""Types of messages and of events that change them; they also count in a room that was replaced by an upgrade."""

_OTHER_TYPES: Final = ("m.room.", "m.call.", "m.key.", "org.matrix.call.")
"""Prefixes of event types that are not messages, whatever their content."""
_TEXTS: Final = ("m.text", "org.matrix.msc1767.text", "org.matrix.msc1767.message", "m.message")
_MAX_ID_CHARS: Final = 255

Event = dict[str, Any]


def text(event: Event, key: str) -> str:
    """Return a string field; empty if it is missing or not a string."""
    value = event.get(key)
    return storable(value) if isinstance(value, str) else ""


def optional_text(content: Event, key: str) -> str | None:
    """Return a string field; None if it is missing or not a string."""
    value = content.get(key)
    return storable(value) if isinstance(value, str) else None


def name_text(content: Event, key: str) -> str | None:
    """Return the name of a user or room as one line (``text_sanitizing.one_line``).

    Other servers may send 60,000 characters.
    """
    value = content.get(key)
    return one_line(value) if isinstance(value, str) else None


def topic_text(content: Event, key: str) -> str | None:
    """Return a room's topic, cut to the length that the API accepts."""
    value = optional_text(content, key)
    return value if value is None else value[:MAX_TOPIC_CHARS]


def inner(content: Event, key: str) -> Event:
    """Return the object under ``key``; empty if there is none."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def is_message(event: Event) -> bool:
    """Return whether the event becomes a message in the city: one of `MESSAGES`, or an unknown kind that has a fallback text."""
    return type_of(event) in MESSAGES or _is_unknown_message(event)


def is_message_or_change(event: Event) -> bool:
    """Return whether the event is a message or changes one (`MESSAGES_AND_CHANGES`)."""
    return type_of(event) in MESSAGES_AND_CHANGES or _is_unknown_message(event)


def _is_unknown_message(event: Event) -> bool:
    event_type = type_of(event)
    if (
        "state_key" in event
        or not event_type
        or event_type in MESSAGES_AND_CHANGES
        or event_type.startswith(_OTHER_TYPES)
    ):
        return False
    content = content_of(event)
    return bool(fallback_text(content) or fallback_text(inner(content, "m.new_content")))


def fallback_text(content: Event) -> str | None:
    """Return the text by which clients show content that they do not understand; None without one.

    It is ``body``, or the plain text of extensible events (MSC1767), a string or a list of representations.
    """
    texts = map(plain_text, (content.get("body"), *(content.get(key) for key in _TEXTS)))
    return next((storable(each) for each in texts if each.strip()), None)


def plain_text(value: Any) -> str:
    """Return the plain text of extensible content (MSC1767), a string or a list of representations; empty without one."""
    if isinstance(value, list):
        value = next((each.get("body") for each in value if _is_plain(each)), None)
    return value if isinstance(value, str) else ""


def _is_plain(representation: Any) -> bool:
    return isinstance(representation, dict) and representation.get("mimetype", "text/plain") == "text/plain"


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


def has_sender_and_id(event: Event) -> bool:
    """Return whether the event has a sender and an id. Every real event has both, but the code must not fail without them."""
    return is_user_id(text(event, "sender")) and 0 < len(text(event, "event_id")) <= _MAX_ID_CHARS


def time_ms(event: Event) -> int:
    """Return ``origin_server_ts``, limited to what a 64-bit column and a date can hold.

    The sender's server sets the value.

    `timestamps.plausible_ms` decides whether the time is plausible.
    """
    value = event.get("origin_server_ts")
    return min(max(value, 0), 253_402_300_799_000) if type(value) is int else 0
