"""The JSON representations of last messages and unread counts."""

from __future__ import annotations

from typing import Final

from ..city.excerpts import excerpt
from ..city.identity import Identities
from ..city.timestamps import timestamp
from ..city.types import Message
from ..city.unread import RoomUnread
from . import schemas
from .author_views import author_view

_MAX_EXCERPT_CHARS: Final = 140
_MAX_PARSED_CHARS: Final = 4_000
"""Longer HTML is not parsed: its message is shown as plain text."""


def last_message_view(message: Message, identities: Identities) -> schemas.LastMessage:
    """Return a message as lists of rooms show it."""
    html = message.formatted_body
    is_short = html is not None and len(html) <= _MAX_PARSED_CHARS
    text = excerpt(" ".join(message.body[:_MAX_PARSED_CHARS].split()), html if is_short else None, _MAX_EXCERPT_CHARS)
    return {
        "id": message.id,
        "seq": message.seq,
        "author": author_view(message.author, identities),
        "text": text,
        "msgtype": message.msgtype,
        "created_at": timestamp(message.created_at_ms),
    }


def optional_last_message_view(message: Message | None, identities: Identities) -> schemas.LastMessage | None:
    return None if message is None else last_message_view(message, identities)


def unread_view(unread: RoomUnread) -> schemas.RoomUnread:
    """Return the state of a room for a citizen, without the room's id."""
    return {
        "joined": unread.is_joined,
        "unread": unread.unread,
        "mentions": unread.mentions,
        "read_seq": unread.marks.main,
        "notifications": unread.mode,
    }
