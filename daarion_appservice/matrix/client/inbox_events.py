"""Matrix events as rows of the inbox: their JSON text, or a dead letter with the reason."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, TypeGuard

import orjson

from ...storage.inbox import ReceivedEvent

MAX_EVENT_BYTES: Final = 512 * 1024
"""An event has 65,536 bytes at most (client-server API, "Size limits"); ``unsigned``, which may hold other events, is not
counted. What is larger is no event."""

_MAX_ID_CHARS: Final = 255
"""Client-server API, "Identifier Grammar": 255 bytes."""


def inbox_event(event: Any) -> ReceivedEvent:
    """An event as it goes into the inbox; one that cannot be told from others, or is none, goes there as dead."""
    text, error = _written(event)
    if isinstance(event, dict):
        event_id, room_id = event.get("event_id"), event.get("room_id")
        if _is_id(event_id) and _is_id(room_id):
            return ReceivedEvent(event_id, room_id, text, error)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ReceivedEvent(f"unreadable:{digest}", "", text, error or "no event_id or room_id")


def _written(event: Any) -> tuple[str, str | None]:
    """The event's JSON text, or an empty object and what is wrong with the event."""
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
    except orjson.JSONEncodeError:  # it reads 1,024 levels but writes only 254
        return json.dumps(event, ensure_ascii=False).encode()


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS and "\0" not in value
