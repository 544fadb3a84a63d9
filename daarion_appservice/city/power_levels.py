"""Power levels of a room, and what they allow a user to send (client-server API, "m.room.power_levels")."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import orjson

from .event_fields import Event, inner
from .types import UserId

_DEFAULTS: Final = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "invite": 0,
    "redact": 50,
    "kick": 50,
    "ban": 50,
}
_DEFAULT_NOTIFY: Final = 50
"""The default of ``room`` in ``notifications``."""


@dataclass(frozen=True, slots=True)
class RoomPowerLevels:
    """A room's power levels.

    ``content`` is empty for a room without the event; ``creators`` have infinite power (room version 12).
    """

    content: Event
    creators: Collection[UserId] = ()

    def of(self, user: UserId) -> float:
        """Return a user's power level."""
        if user in self.creators:
            return math.inf
        return level_of(inner(self.content, "users").get(user), self.default("users_default"))

    def highest(self) -> int:
        """Return the highest level of users who are not creators."""
        return max((level_of(level, 0) for level in inner(self.content, "users").values()), default=0)

    def to_send(self, event_type: str, *, is_state: bool = False) -> int:
        default = self.default("state_default" if is_state else "events_default")
        return level_of(inner(self.content, "events").get(event_type), default)

    def default(self, key: str) -> int:
        return level_of(self.content.get(key), _DEFAULTS[key])


def may_send(power_levels: str, user: UserId, event_type: str) -> bool:
    """Return whether ``user`` may send message events of a type.

    Room creators, who have infinite power since room version 12, are ignored: no ghost creates rooms.

    Args:
        power_levels: The content of ``m.room.power_levels`` as JSON; it may be malformed.
        event_type: The type of the event.
    """
    powers = _powers(power_levels)
    return powers.of(user) >= powers.to_send(event_type)


def may_redact(power_levels: str, user: UserId) -> bool:
    """Return whether ``user`` may redact events of others; see `may_send`."""
    powers = _powers(power_levels)
    return powers.of(user) >= powers.default("redact")


def may_invite(power_levels: str, user: UserId) -> bool:
    """Return whether ``user`` may invite others; see `may_send`."""
    powers = _powers(power_levels)
    return powers.of(user) >= powers.default("invite")


def may_notify_room(power_levels: str, user: UserId) -> bool:
    """Return whether ``user`` may mention all members of a room by ``@room``; see `may_send`."""
    powers = _powers(power_levels)
    return powers.of(user) >= level_of(inner(powers.content, "notifications").get("room"), _DEFAULT_NOTIFY)


def _powers(text: str) -> RoomPowerLevels:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        content = {}
    return RoomPowerLevels(content if isinstance(content, dict) else {})


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
