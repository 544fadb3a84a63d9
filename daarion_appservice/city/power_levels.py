"""Power levels: whether ``m.room.power_levels`` allows a user to send an event (client-server API,
"m.room.power_levels").
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from .event_fields import inner
from .types import UserId

_DEFAULT: Final = 0
"""The default of ``users_default`` and ``events_default``, also for a room without power levels."""


def may_send(power_levels: str, user: UserId, event_type: str) -> bool:
    """Whether ``user`` may send message events of a type.

    Room creators, who have infinite power since room version 12, are ignored: no ghost creates rooms.

    Args:
        power_levels: The content of ``m.room.power_levels`` as JSON; it may be malformed.
        user: The user.
        event_type: The type of the event.
    """
    content = _content(power_levels)
    has = level_of(inner(content, "users").get(user), level_of(content.get("users_default"), _DEFAULT))
    needs = level_of(inner(content, "events").get(event_type), level_of(content.get("events_default"), _DEFAULT))
    return has >= needs


def _content(text: str) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def level_of(value: Any, default: int) -> int:
    """Return a power level, or ``default`` for an invalid one. Levels may be strings before room version 10."""
    match value:
        case bool():
            return default
        case int():
            return value
        case float() | str():
            try:
                return int(value)
            except (ValueError, OverflowError):
                return default
    return default
