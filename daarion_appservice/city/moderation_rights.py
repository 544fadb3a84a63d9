"""Moderation rights: what a Matrix room's power levels allow a member besides writing (client-server API,
"m.room.power_levels").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from .event_fields import inner
from .read_only_levels import RoomPowerLevels
from .types import UserId

MODERATOR_LEVEL: Final = 50
"""The power level that Matrix clients call moderator."""
_WRITER_LEVEL: Final = MODERATOR_LEVEL - 1
"""The power level that writing needs in a room of moderators; the room's agents have it, without the rights of moderators."""
MAX_WRITING_AGENTS: Final = 500
"""The most agents that get the level: each is an entry of ``m.room.power_levels``, which has 64 KiB at most."""
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
    return max(_WRITER_LEVEL, powers.default("users_default") + 1)


def writers_of(powers: RoomPowerLevels) -> Writers:
    """Return who may send messages: everyone if the level of a new member suffices."""
    is_open = powers.to_send(_MESSAGE) <= powers.default("users_default")
    return Writers.EVERYONE if is_open else Writers.MODERATORS


def with_writers(powers: RoomPowerLevels, writers: Writers, agents: Sequence[UserId]) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` under which ``writers`` may send messages.

    Args:
        powers: the current levels.
        writers: who may write.
        agents: the ghosts of the room's agents, which may write always.
    """
    level = powers.default("users_default") if writers is Writers.EVERYONE else _level_of_moderators(powers)
    content = dict(powers.content) | {"events_default": level}
    if _MESSAGE in (events := inner(powers.content, "events")):
        content["events"] = dict(events) | {_MESSAGE: level}
    return with_writing_agents(RoomPowerLevels(content, powers.creators), agents)


def with_writing_agents(powers: RoomPowerLevels, agents: Sequence[UserId]) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` under which the room's agents may write.

    Where moderators write alone by the level of the city, agents below it get exactly this level. Where a Matrix client
    demands the level of moderators or more, and in read-only rooms, nothing changes. In a room of everyone, agents lose the
    level of writers.
    """
    users, level = dict(inner(powers.content, "users")), powers.to_send(_MESSAGE)
    if writers_of(powers) is Writers.EVERYONE:
        for agent in agents:
            if users.get(agent) == _WRITER_LEVEL:
                del users[agent]
    elif level < MODERATOR_LEVEL:
        users |= {agent: level for agent in agents[:MAX_WRITING_AGENTS] if powers.of(agent) < level}
    return dict(powers.content) | ({"users": users} if users or "users" in powers.content else {})


def may_remove(level: float, other: float) -> bool:
    """Return whether a member may kick or ban a user: the level of the user must be lower."""
    return level > other
