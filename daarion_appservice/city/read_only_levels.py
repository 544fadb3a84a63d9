"""Power levels that make a Matrix room read-only, and restore it (client-server API, "m.room.power_levels")."""

from __future__ import annotations

import math
from typing import Any, Final

from .event_fields import Event, inner
from .granted_levels import ADMIN_LEVEL
from .power_levels import RoomPowerLevels, level_of
from .types import UserId

_HIGHEST: Final = 2**53 - 1
"""The largest integer that an event may hold."""
_REDACTION: Final = "m.room.redaction"


def read_only(powers: RoomPowerLevels, owner: UserId) -> dict[str, Any]:
    """Return content under which only users with at least ``owner``'s level can send.

    A read-only room's content is unchanged.

    The level for redactions remains, so that messages of an archived room can be deleted.
    """
    own = powers.of(owner)
    level = min(max(ADMIN_LEVEL, powers.highest() + 1), _HIGHEST) if math.isinf(own) else int(own)
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
