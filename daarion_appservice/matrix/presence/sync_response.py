"""The parts of a response to ``/sync`` that the observers read; a part of another type counts as missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def joined_rooms(response: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return ``rooms.join``: the id and the update of each room."""
    match response:
        case {"rooms": {"join": dict(rooms)}}:
            return rooms.items()
    return []


def ephemeral_events(update: Any) -> list[Any]:
    """Return ``ephemeral.events`` of a room's update."""
    match update:
        case {"ephemeral": {"events": list(events)}}:
            return events
    return []


def presence_events(response: Mapping[str, Any]) -> list[Any]:
    """Return ``presence.events``."""
    match response:
        case {"presence": {"events": list(events)}}:
            return events
    return []
