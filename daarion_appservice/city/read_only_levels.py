"""Power levels that make a Matrix room read-only, and restore it (client-server API, "m.room.power_levels")."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from .event_fields import Event, inner
from .power_levels import level_of
from .types import UserId

_DEFAULTS: Final = {"users_default": 0, "events_default": 0, "state_default": 50, "redact": 50, "kick": 50, "ban": 50}
_ADMIN: Final = 100
_HIGHEST: Final = 2**53 - 1
"""The largest integer that an event may hold."""
_REDACTION: Final = "m.room.redaction"


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


def read_only(powers: RoomPowerLevels, owner: UserId) -> dict[str, Any]:
    """Return content under which only users with at least ``owner``'s level can send.

    A read-only room's content is unchanged.

    The level for redactions remains, so that messages of an archived room can be deleted.
    """
    own = powers.of(owner)
    level = min(max(_ADMIN, powers.highest() + 1), _HIGHEST) if math.isinf(own) else int(own)
    events = {each: max(level_of(needed, 0), level) for each, needed in inner(powers.content, "events").items()}
    return dict(powers.content) | {
        "events_default": max(powers.default("events_default"), level),
        "events": events | {_REDACTION: powers.to_send(_REDACTION)},
    }


def restored(content: Event, before: Event) -> dict[str, Any]:
    """Return the content of a read-only room with the levels that `read_only` changed as they were ``before``."""
    then = inner(before, "events")
    events = {each: level_of(then.get(each), level) for each, level in inner(content, "events").items()}
    if _REDACTION not in then:
        events.pop(_REDACTION, None)
    return dict(content) | {"events_default": RoomPowerLevels(before).default("events_default"), "events": events}
