"""Reads the current state of a Matrix room, as the homeserver has resolved it.

A state event can lose state resolution, or be soft-failed, and application services receive it nevertheless (seen in
Synapse 1.163). So a state event of another server is only a hint to request ``GET /rooms/{id}/state``.
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

RULE_TYPES: Final = frozenset({"m.room.power_levels", "m.room.join_rules", "m.room.create"})
"""Event types that decide whether other state events are allowed (room version 2, "State resolution", power events)."""
_MAX_SINGLE_REQUESTS: Final = 20
"""Maximum number of state events to read one by one; for more, one request for the whole state costs less."""
_CONCURRENCY: Final = 8
_NO_EVENT: Final = "(none)"
"""The event id of absent state; real event ids begin with ``$``."""


class RoomNotVisible(Exception):
    """The homeserver refused the request of every viewer: none of them is, or was, in the room."""


@dataclass(frozen=True, slots=True)
class CurrentState:
    """State events of one room; ``events`` has no entry for a key that has no state."""

    room: MatrixRoomId
    events: dict[StateKey, Event]
    is_whole: bool

    def get(self, key: StateKey) -> Event:
        """Return the current event of a key, or an event without content if there is none (see `is_absent`)."""
        return self.events.get(key) or {
            "event_id": _NO_EVENT,
            "room_id": self.room,
            "type": key[0],
            "state_key": key[1],
            # There is no sender. An absent membership counts as a leave by the member.
            "sender": key[1] or f"@:{self.room.partition(':')[2] or 'localhost'}",
            "content": {},
        }


def state_event_key(event: Event) -> StateKey | None:
    """Return type and state key of a state event; None for other events."""
    return (type_of(event), text(event, "state_key")) if isinstance(event.get("state_key"), str) else None


def is_absent(event: Event) -> bool:
    """Return whether `CurrentState.get` created the event because the room has no such state."""
    return event_id_of(event) == _NO_EVENT


def may_change_other_state(event: Event) -> bool:
    """Return whether a state event may change other state of the room, for which no event is sent."""
    is_about_other_user = type_of(event) == "m.room.member" and event.get("sender") != event.get("state_key")
    return type_of(event) in RULE_TYPES or is_about_other_user


async def read_state(
    homeserver: Homeserver,
    room: MatrixRoomId,
    keys: Collection[StateKey],
    *,
    whole: bool,
    viewers: Sequence[UserId],
) -> CurrentState:
    """Read the state events of ``keys``, or the whole state, from the homeserver.

    Args:
        homeserver: the client-server API.
        room: the Matrix room.
        keys: type and state key of the state events.
        whole: read the whole state.
        viewers: users of the application service; the request is sent as one after the other until one is not refused.

    Raises:
        RoomNotVisible: the requests of all viewers were refused with 403.
        HomeserverUnavailable: the homeserver does not answer.
        HomeserverRefused: the homeserver refuses for another reason.
    """
    for viewer in viewers:
        try:
            return await _read_as(
                homeserver, room, keys, whole=whole or len(keys) > _MAX_SINGLE_REQUESTS, viewer=viewer
            )
        except HomeserverRefused as error:
            if error.status != 403:
                raise
    raise RoomNotVisible


async def _read_as(
    homeserver: Homeserver, room: MatrixRoomId, keys: Collection[StateKey], *, whole: bool, viewer: UserId
) -> CurrentState:
    if whole:
        return CurrentState(room, _by_key(room, await homeserver.whole_state(room, as_user=viewer)), is_whole=True)
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def request(key: StateKey) -> Event | None:
        async with limit:
            return await homeserver.state_event(room, *key, as_user=viewer)

    found = await asyncio.gather(*map(request, keys))
    return CurrentState(room, _by_key(room, (event for event in found if event is not None)), is_whole=False)


def _by_key(room: MatrixRoomId, events: Iterable[Any]) -> dict[StateKey, Event]:
    found: dict[StateKey, Event] = {}
    for event in events:
        key = state_event_key(event) if isinstance(event, dict) else None
        if key is not None:
            found[key] = {**event, "room_id": room}
    return found
