"""Conversion of Matrix events to inbox rows: the JSON text of the event, or a dead letter with the reason."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, TypeGuard

import orjson

from ...storage.inbox import ReceivedEvent

MAX_EVENT_BYTES: Final = 512 * 1024
"""The maximum size of an event in the inbox. An event has at most 65,536 bytes (client-server API, "Size limits"), not
counting ``unsigned``, which may contain other events."""

_MAX_ID_CHARS: Final = 255
"""The maximum length of an id (client-server API, "Identifier Grammar": 255 bytes)."""


def inbox_event(event: Any) -> ReceivedEvent:
    """Return the inbox row of an event.

    Args:
        event: any JSON value of a transaction.

    Returns:
        The row; a dead letter if the value is not a valid event, with a hash as its id if it has no valid event id.
    """
    text, error = _serialize(event)
    if isinstance(event, dict):
        event_id, room_id = event.get("event_id"), event.get("room_id")
        if _is_id(event_id) and _is_id(room_id):
            return ReceivedEvent(event_id, room_id, text, error)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ReceivedEvent(f"unreadable:{digest}", "", text, error or "no event_id or room_id")


def _serialize(event: Any) -> tuple[str, str | None]:
    """Return the event's JSON text and None, or an empty object and the reason why the event is invalid."""
    try:
        text = _dumps(event)
    except RecursionError:
        return "{}", "nested too deeply"
    for key in ("type", "state_key"):
        if isinstance(event, dict) and len(str(event.get(key, ""))) > _MAX_ID_CHARS:
            return "{}", f"its {key} is longer than {_MAX_ID_CHARS} characters"
    if len(text) > MAX_EVENT_BYTES:
        return "{}", f"has {len(text)} bytes, more than an event may have"
    return text.decode(), None


def _dumps(event: Any) -> bytes:
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:  # orjson parses 1,024 levels of nesting but serializes only 254.
        return json.dumps(event, ensure_ascii=False).encode()


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS and "\0" not in value
