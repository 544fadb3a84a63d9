"""Moderation rights: what a Matrix room's power levels allow a member besides writing (client-server API,
"m.room.power_levels").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from .event_fields import inner
from .read_only_levels import RoomPowerLevels

MODERATOR_LEVEL: Final = 50
"""The power level that Matrix clients call moderator."""
_MESSAGE: Final = "m.room.message"
_LEVELS: Final = "m.room.power_levels"


class Writers(StrEnum):
    """Who may send messages in a room."""

    EVERYONE = "everyone"
    MODERATORS = "moderators"


@dataclass(frozen=True, slots=True)
class ModerationRights:
    """What one person may do in one room."""

    delete_messages: bool = False
    """Redact messages of others."""
    kick: bool = False
    ban: bool = False
    """Ban others, and lift bans."""
    pin: bool = False
    edit_room: bool = False
    """Change name and description."""
    set_writers: bool = False
    set_avatar: bool = False


NO_RIGHTS: Final = ModerationRights()
ALL_RIGHTS: Final = ModerationRights(True, True, True, True, True, True, True)


def rights_of(powers: RoomPowerLevels, level: float) -> ModerationRights:
    """Return the rights of a member with a power level."""
    needed_for_state = [powers.to_send(each, is_state=True) for each in ("m.room.name", "m.room.topic")]
    return ModerationRights(
        delete_messages=level >= powers.default("redact"),
        kick=level >= powers.default("kick"),
        ban=level >= powers.default("ban"),
        pin=level >= powers.to_send("m.room.pinned_events", is_state=True),
        edit_room=level >= max(needed_for_state),
        set_writers=level >= _needed_for_writers(powers),
        set_avatar=level >= powers.to_send("m.room.avatar", is_state=True),
    )


def _needed_for_writers(powers: RoomPowerLevels) -> int:
    # A user may set no level above the own one, and change none that is above it.
    changed = (powers.to_send(_MESSAGE), powers.default("events_default"))
    return max(powers.to_send(_LEVELS, is_state=True), *changed, _level_of_moderators(powers))


def _level_of_moderators(powers: RoomPowerLevels) -> int:
    return max(MODERATOR_LEVEL, powers.default("users_default") + 1)


def writers_of(powers: RoomPowerLevels) -> Writers:
    """Return who may send messages: everyone if the level of a new member suffices."""
    is_open = powers.to_send(_MESSAGE) <= powers.default("users_default")
    return Writers.EVERYONE if is_open else Writers.MODERATORS


def with_writers(powers: RoomPowerLevels, writers: Writers) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` under which ``writers`` may send messages."""
    level = powers.default("users_default") if writers is Writers.EVERYONE else _level_of_moderators(powers)
    content = dict(powers.content) | {"events_default": level}
    if _MESSAGE in (events := inner(powers.content, "events")):
        content["events"] = dict(events) | {_MESSAGE: level}
    return content


def may_remove(level: float, other: float) -> bool:
    """Return whether a member may kick or ban a user: the level of the user must be lower."""
    return level > other
