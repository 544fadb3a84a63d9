"""Power levels that the city grants in its rooms: admins have 100, and the observer has less than any member."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .event_fields import inner
from .power_levels import RoomPowerLevels
from .types import UserId

ADMIN_LEVEL: Final = 100
OBSERVER_LEVEL: Final = -1
"""Below the default, so that the observer may send nothing, and clients list it after the others."""


def with_granted_levels(
    powers: RoomPowerLevels, *, bot: UserId, admins: Iterable[UserId], observer: UserId | None
) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` with the granted levels, unchanged where the bot may not grant them.

    Nobody's level is lowered, except for that of an observer without a level of its own. Creators have infinite power in
    room version 12, where they must not be named.

    Args:
        powers: the current levels.
        bot: the user who changes them.
        admins: the users to make admins.
        observer: the observer if it is a member of the room.
    """
    own, users = powers.of(bot), dict(inner(powers.content, "users"))
    if own < powers.to_send("m.room.power_levels", is_state=True):
        return dict(powers.content)
    if own >= ADMIN_LEVEL:
        users |= {admin: ADMIN_LEVEL for admin in admins if powers.of(admin) < ADMIN_LEVEL}
    if observer is not None and observer not in users and powers.default("users_default") > OBSERVER_LEVEL:
        users[observer] = OBSERVER_LEVEL
    return dict(powers.content) | ({"users": users} if users else {})
