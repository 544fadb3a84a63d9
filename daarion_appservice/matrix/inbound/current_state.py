"""The current state of a Matrix room, as the homeserver has resolved it; a state event is only a hint that it may have changed.

A state event can lose state resolution, or be soft-failed, and application services receive it all the same (seen in Synapse
1.163). So what an event of another server says of a room is read from ``GET /rooms/{id}/state``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...city.event_fields import Event, event_id_of, text, type_of
from ...city.types import MatrixRoomId, UserId
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver

StateKey = tuple[str, str]
"""Type and state key of a state event."""

GOVERNING: Final = frozenset({"m.room.power_levels", "m.room.join_rules", "m.room.create"})
"""Event types on which it depends whether other state events count (spec, "State resolution", power events)."""
_MOST_SINGLE: Final = 20
"""State events that are read one by one; where more are wanted, one request for the whole state costs less."""
_AT_ONCE: Final = 8
_NO_EVENT: Final = "(none)"
"""No event id begins with anything but ``$``."""


class NotShown(Exception):
    """Every user of ours that could have asked was refused: none of them is, or was, in the room."""


@dataclass(frozen=True, slots=True)
class CurrentState:
    """What was read of one room; ``events`` has no entry for a key that has no state."""

    room: MatrixRoomId
    events: dict[StateKey, Event]
    is_whole: bool

    def now(self, key: StateKey) -> Event:
        """The current event of a key; where there is none, one without content (see `is_absent`)."""
        return self.events.get(key) or {
            "event_id": _NO_EVENT,
            "room_id": self.room,
            "type": key[0],
            "state_key": key[1],
            # Nobody said so. A membership that is not there is like one that somebody ended by themselves.
            "sender": key[1] or f"@:{self.room.partition(':')[2] or 'localhost'}",
            "content": {},
        }


def key_of(event: Event) -> StateKey | None:
    """None for what is no state event."""
    return (type_of(event), text(event, "state_key")) if isinstance(event.get("state_key"), str) else None


def is_absent(event: Event) -> bool:
    """Whether `CurrentState.now` made it, because the room has no such state."""
    return event_id_of(event) == _NO_EVENT


def may_unsettle(event: Event) -> bool:
    """Whether other state of the room may have changed with this state event, without an event of its own."""
    is_about_somebody_else = type_of(event) == "m.room.member" and event.get("sender") != event.get("state_key")
    return type_of(event) in GOVERNING or is_about_somebody_else


async def read_state(
    homeserver: Homeserver,
    room: MatrixRoomId,
    keys: Collection[StateKey],
    *,
    whole: bool,
    viewers: Sequence[UserId],
) -> CurrentState:
    """Read these keys, or the ``whole`` state.

    Args:
        viewers: users of ours, who are asked as one after the other until one is not refused.

    Raises:
        NotShown: all of them were refused.
        HomeserverUnavailable, HomeserverRefused: as every call does.
    """
    for viewer in viewers:
        try:
            return await _read_as(homeserver, room, keys, whole=whole or len(keys) > _MOST_SINGLE, viewer=viewer)
        except HomeserverRefused as error:
            if error.status != 403:
                raise
    raise NotShown


async def _read_as(
    homeserver: Homeserver, room: MatrixRoomId, keys: Collection[StateKey], *, whole: bool, viewer: UserId
) -> CurrentState:
    if whole:
        return CurrentState(room, _by_key(room, await homeserver.whole_state(room, as_user=viewer)), is_whole=True)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(key: StateKey) -> Event | None:
        async with slots:
            return await homeserver.state_event(room, *key, as_user=viewer)

    found = await asyncio.gather(*map(one, keys))
    return CurrentState(room, _by_key(room, (event for event in found if event is not None)), is_whole=False)


def _by_key(room: MatrixRoomId, events: Iterable[Any]) -> dict[StateKey, Event]:
    found: dict[StateKey, Event] = {}
    for event in events:
        key = key_of(event) if isinstance(event, dict) else None
        if key is not None:
            found[key] = {**event, "room_id": room}
    return found
