"""What ``m.room.power_levels`` lets somebody say (spec, "m.room.power_levels")."""

from __future__ import annotations

from typing import Any, Final

import orjson

from .event_fields import inner
from .types import UserId

_DEFAULT: Final = 0
"""Of ``users_default`` and of ``events_default``, also where there are no power levels at all."""


def may_send(power_levels: str, user: UserId, event_type: str) -> bool:
    """Whether ``user`` may send messages of this type; ``power_levels`` is the event's content, whatever a server let pass.

    Creators, who stand above all levels since room version 12, are not known here: no ghost makes rooms.
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
    """Before room version 10 levels may be texts; what is none counts as left out."""
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
