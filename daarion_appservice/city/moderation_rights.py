"""Moderation rights: what a Matrix room's power levels allow a member besides writing (client-server API,
"m.room.power_levels").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final

import orjson

from .event_fields import Event, inner
from .power_levels import RoomPowerLevels
from .types import UserId

MODERATOR_LEVEL: Final = 50
"""The power level that Matrix clients call moderator."""
_WRITER_LEVEL: Final = MODERATOR_LEVEL - 1
"""The power level that writing needs in a room of moderators; the room's agents have it, without the rights of moderators."""
MAX_WRITING_AGENTS: Final = 500
"""The maximum number of agents with the level: every event of a room is checked against ``m.room.power_levels``."""
MAX_CONTENT_BYTES: Final = 48 * 1024
"""The size of the content of ``m.room.power_levels`` up to which agents get levels. An event has 64 KiB at most: the rest is
for the levels that moderators give, and for the event's other fields. A larger event could not be changed any more.
"""
_ENTRY_BYTES: Final = len('"":49,')
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


def with_writers(
    powers: RoomPowerLevels, writers: Writers, agents: Sequence[UserId], *, is_agent: Callable[[UserId], bool]
) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` under which ``writers`` may send messages.

    Args:
        powers: the current levels.
        writers: who may write.
        agents: the ghosts of the room's agents, which may write always.
        is_agent: returns whether a user is the ghost of any agent.
    """
    level = powers.default("users_default") if writers is Writers.EVERYONE else _level_of_moderators(powers)
    content = dict(powers.content) | {"events_default": level}
    if _MESSAGE in (events := inner(powers.content, "events")):
        content["events"] = dict(events) | {_MESSAGE: level}
    return with_writing_agents(RoomPowerLevels(content, powers.creators), agents, is_agent=is_agent)


def with_writing_agents(
    powers: RoomPowerLevels, agents: Sequence[UserId], *, is_agent: Callable[[UserId], bool]
) -> dict[str, Any]:
    """Return the content of ``m.room.power_levels`` under which the room's agents may write.

    Where moderators write alone by the level of the city, agents without a level get exactly this one, up to the limits
    `MAX_WRITING_AGENTS` and `MAX_CONTENT_BYTES`. A level that a moderator gave to an agent remains. Where a Matrix client
    demands the level of moderators or more, and in read-only rooms, nothing changes. Agents that are not in the room any
    more, and all agents where everyone writes, lose the level of writers.
    """
    is_open, level = writers_of(powers) is Writers.EVERYONE, powers.to_send(_MESSAGE)
    if not is_open and level >= MODERATOR_LEVEL:
        return dict(powers.content)
    writing = frozenset() if is_open else frozenset(agents)
    users = {
        user: own
        for user, own in inner(powers.content, "users").items()
        if own != _WRITER_LEVEL or user in writing or not is_agent(UserId(user))
    }
    content = dict(powers.content) | ({"users": users} if "users" in powers.content else {})
    without_level = [agent for agent in agents if agent not in users and agent not in powers.creators]
    if not is_open and (added := _fitting(content, without_level, level)):
        content["users"] = users | dict.fromkeys(added, level)
    return content


def _fitting(content: Event, agents: Sequence[UserId], level: int) -> list[UserId]:
    """Return the first of the agents, as many as get a level of their own within the limits."""
    taken = sum(own == level for own in inner(content, "users").values())
    left = MAX_CONTENT_BYTES - _size(content)
    sizes = accumulate(len(agent) + _ENTRY_BYTES for agent in agents)
    number = sum(size <= left for size in sizes)
    return list(agents[: max(0, min(number, MAX_WRITING_AGENTS - taken))])


def _size(content: Event) -> int:
    """Return the bytes of a content as JSON; the limit for one that is nested too deeply for JSON."""
    try:
        return len(orjson.dumps(content))
    except orjson.JSONEncodeError:
        return MAX_CONTENT_BYTES


def may_remove(level: float, other: float) -> bool:
    """Return whether a member may kick or ban a user: the level of the user must be lower."""
    return level > other
