"""The rules of a Matrix room, read from its state: power levels, join rule, history visibility, encryption and type.

They are requested for a room whose state events from before the city knew it were never delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ...city.event_fields import Event, content_of, inner, sender_of, text, time_ms
from ...city.history_visibility import history_visibility
from ...city.identity import is_user_id
from ...city.media import is_mxc
from ...city.power_levels import RoomPowerLevels
from ...city.types import EventId, HistoryVisibility, MatrixRoomId, UserId
from .homeserver import Homeserver

SERVICE_MEMBERS: Final = "io.element.functional_members"
"""The state event (MSC4171) with members whom clients do not count when they name a room."""
_LEVELS: Final = "m.room.power_levels"
_INFINITE: Final = 2**53 - 1
"""The power level in the place of an infinite one."""
_MAX_JSON_CHARS: Final = 65_536
"""The maximum size of an event."""
_MAX_RULE_CHARS: Final = 32
MAX_PINS: Final = 100
"""The number of pinned messages of a room that the city shows, and allows; clients show the newest ones first."""
_MAX_EVENT_ID_BYTES: Final = 255
_UNSAID: Final = "invite"
"""The join rule of a room without ``m.room.join_rules`` (spec, "m.room.join_rules")."""


@dataclass(frozen=True, slots=True)
class RoomRules:
    """The rules of a room at the time of the request."""

    powers: RoomPowerLevels
    join_rule: str
    visibility: HistoryVisibility
    visibility_since_ms: int | None
    """When the history visibility was last set (ms since 1970); None if it never was."""
    is_encrypted: bool
    predecessor: MatrixRoomId | None
    """The room that this one replaces, according to its ``m.room.create`` event."""
    is_space: bool


async def read_rules(homeserver: Homeserver, room: MatrixRoomId, *, as_user: UserId) -> RoomRules:
    """Request the rules of a room.

    Raises:
        HomeserverUnavailable: the homeserver did not respond.
        HomeserverRefused: the homeserver refused, for example because ``as_user`` is not in the room.
    """
    created, powers, join_rules, encryption, visibility = await asyncio.gather(
        homeserver.state_event(room, "m.room.create", as_user=as_user),
        homeserver.state(room, _LEVELS, as_user=as_user),
        homeserver.state(room, "m.room.join_rules", as_user=as_user),
        homeserver.state(room, "m.room.encryption", as_user=as_user),
        homeserver.state_event(room, "m.room.history_visibility", as_user=as_user),
    )
    created = created or {}
    predecessor = text(inner(content_of(created), "predecessor"), "room_id")
    return RoomRules(
        RoomPowerLevels(powers or {}, _creators(room, created)),
        join_rule(join_rules or {}),
        visibility_in(content_of(visibility or {})),
        time_ms(visibility) if visibility else None,
        is_encryption(encryption or {}),
        MatrixRoomId(predecessor) if predecessor else None,
        text(content_of(created), "type") == "m.space",
    )


async def change_levels(
    homeserver: Homeserver,
    room: MatrixRoomId,
    powers: RoomPowerLevels,
    change: Callable[[RoomPowerLevels], Event],
    *,
    as_user: UserId,
) -> RoomPowerLevels:
    """Change ``m.room.power_levels``, whose content is replaced as a whole; return the levels after that.

    A change is computed again on the levels of this moment: a client may have set others since ``powers`` were read, and they
    must not be undone.

    Args:
        room: the Matrix room or the space.
        powers: its power levels, as read before.
        change: returns the content with the change; an equal content sends no event.
        as_user: the user who changes them.

    Raises:
        HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
    """
    if change(powers) == powers.content:
        return powers
    current = await homeserver.state(room, _LEVELS, as_user=as_user)
    powers = RoomPowerLevels(current or {}, powers.creators)
    if (wanted := change(powers)) != powers.content:
        await homeserver.set_state(room, _LEVELS, wanted, as_user=as_user)
    return RoomPowerLevels(wanted, powers.creators)


def join_rule(content: Event) -> str:
    """Return the join rule in the content of ``m.room.join_rules``, or the default."""
    return text(content, "join_rule")[:_MAX_RULE_CHARS] or _UNSAID


def visibility_in(content: Event) -> HistoryVisibility:
    """Return the visibility in the content of ``m.room.history_visibility``, which is empty for a room without one."""
    return history_visibility(content.get("history_visibility"))


def is_encryption(content: Event) -> bool:
    """Return whether the content of ``m.room.encryption`` enables encryption, which cannot be disabled again."""
    return bool(text(content, "algorithm"))


def stored_json(content: Event) -> str:
    """Return the content of an event as JSON for a database column; ``{}`` if it is too large or too deeply nested."""
    try:
        stored = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return "{}"
    return stored if len(stored) <= _MAX_JSON_CHARS else "{}"


def pinned_json(content: Event) -> str:
    """Return the event ids in the content of ``m.room.pinned_events`` as JSON, at most `MAX_PINS`, the oldest pin first."""
    return orjson.dumps(pinned_ids(content)[-MAX_PINS:]).decode()


def pinned_ids(content: Event) -> list[EventId]:
    """Return the event ids in the content of ``m.room.pinned_events``, without invalid and repeated ones."""
    pinned = content.get("pinned")
    ids = pinned if isinstance(pinned, list) else []
    return list(dict.fromkeys(EventId(each) for each in ids if isinstance(each, str) and _is_event_id(each)))


def avatar_in(content: Event) -> str | None:
    """Return the ``mxc://`` URI in the content of ``m.room.avatar``; None if there is none, or it is not valid."""
    url = content.get("url")
    return url if isinstance(url, str) and is_mxc(url) else None


def _is_event_id(text: str) -> bool:
    return text.startswith("$") and text.isprintable() and len(text.encode()) <= _MAX_EVENT_ID_BYTES


def stored_levels(powers: RoomPowerLevels) -> str:
    """Return the power levels as JSON, with the creators among the users: for rooms whose creators the city does not store."""
    users = inner(powers.content, "users") | dict.fromkeys(powers.creators, _INFINITE)
    return stored_json(powers.content | {"users": users})


def _creators(room: MatrixRoomId, created: Event) -> frozenset[UserId]:
    """Return the creators, whose power level is infinite from room version 12 on; room ids have no server name there."""
    if ":" in room:
        return frozenset()
    more: Any = content_of(created).get("additional_creators")
    named = more if isinstance(more, list) else []
    return frozenset(
        UserId(user) for user in (sender_of(created), *named) if isinstance(user, str) and is_user_id(user)
    )
