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

_DEFAULT_REDACT: Final = 50
"""The default of ``redact``."""
_DEFAULT_NOTIFY: Final = 50
"""The default of ``room`` in ``notifications``."""


def may_send(power_levels: str, user: UserId, event_type: str) -> bool:
    """Whether ``user`` may send message events of a type.

    Room creators, who have infinite power since room version 12, are ignored: no ghost creates rooms.

    Args:
        power_levels: The content of ``m.room.power_levels`` as JSON; it may be malformed.
        user: The user.
        event_type: The type of the event.
    """
    content = _content(power_levels)
    needs = level_of(inner(content, "events").get(event_type), level_of(content.get("events_default"), _DEFAULT))
    return _level(content, user) >= needs


def may_redact(power_levels: str, user: UserId) -> bool:
    """Whether ``user`` may redact events of others; see `may_send`."""
    content = _content(power_levels)
    return _level(content, user) >= level_of(content.get("redact"), _DEFAULT_REDACT)


def may_notify_room(power_levels: str, user: UserId) -> bool:
    """Whether ``user`` may mention all members of a room by ``@room``; see `may_send`."""
    content = _content(power_levels)
    return _level(content, user) >= level_of(inner(content, "notifications").get("room"), _DEFAULT_NOTIFY)


def _level(content: dict[str, Any], user: UserId) -> int:
    return level_of(inner(content, "users").get(user), level_of(content.get("users_default"), _DEFAULT))


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
