"""How a Matrix room is governed, as the homeserver says when asked: for what happened before anybody listened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ...city.event_fields import Event, content_of, inner, sender_of, text, time_ms
from ...city.history_visibility import history_visibility
from ...city.identity import is_user_id
from ...city.read_only_levels import RoomPowerLevels
from ...city.types import HistoryVisibility, MatrixRoomId, UserId
from .homeserver import Homeserver

_MAX_JSON_CHARS: Final = 65_536
"""An event has no more."""
_MAX_RULE_CHARS: Final = 32
_UNSAID: Final = "invite"
"""The rule of a room that has none (spec, "m.room.join_rules")."""


@dataclass(frozen=True, slots=True)
class RoomRules:
    powers: RoomPowerLevels
    join_rule: str
    visibility: HistoryVisibility
    visibility_since_ms: int | None
    """When it was last set; None if it never was."""
    is_encrypted: bool
    predecessor: MatrixRoomId | None
    """The room that this one was made to replace, as it says itself."""
    is_space: bool


async def read_rules(homeserver: Homeserver, room: MatrixRoomId, *, as_user: UserId) -> RoomRules:
    """Raises what the homeserver does; a room that ``as_user`` is not in is refused."""
    created, powers, join_rules, encryption, visibility = await asyncio.gather(
        homeserver.state_event(room, "m.room.create", as_user=as_user),
        homeserver.state(room, "m.room.power_levels", as_user=as_user),
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


def join_rule(content: Event) -> str:
    return text(content, "join_rule")[:_MAX_RULE_CHARS] or _UNSAID


def visibility_in(content: Event) -> HistoryVisibility:
    """What the content of ``m.room.history_visibility`` says; of a room that has none it is empty."""
    return history_visibility(content.get("history_visibility"))


def is_encryption(content: Event) -> bool:
    """Whether this turns encryption on; nothing turns it off."""
    return bool(text(content, "algorithm"))


def stored_json(content: Event) -> str:
    """What an event holds, as a column does; nothing of one that no server should have let pass."""
    try:
        stored = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return "{}"
    return stored if len(stored) <= _MAX_JSON_CHARS else "{}"


def _creators(room: MatrixRoomId, created: Event) -> frozenset[UserId]:
    """Those who stand above all levels: since room version 12, in which a room's id names no server."""
    if ":" in room:
        return frozenset()
    more: Any = content_of(created).get("additional_creators")
    named = more if isinstance(more, list) else []
    return frozenset(
        UserId(user) for user in (sender_of(created), *named) if isinstance(user, str) and is_user_id(user)
    )
