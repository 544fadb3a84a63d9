"""Inbox rows of one room whose events the homeserver must confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...city.event_fields import Event
from ...city.types import Room, UserId
from ...storage.inbox import InboxRow
from .current_state import StateKey


@dataclass(slots=True)
class UnconfirmedRows:
    """Rows of one room with events of other servers, and with redactions."""

    room: Room
    viewers: Sequence[UserId]
    """The users who request the events, one after the other."""
    timeline: list[tuple[InboxRow, Event]] = field(default_factory=list)
    states: list[tuple[InboxRow, StateKey, Event]] = field(default_factory=list)
    redactions: list[tuple[InboxRow, Event]] = field(default_factory=list)
    """Redactions, of local users too, of events that the city does not know; in a room of the city only."""

    @property
    def row_ids(self) -> list[int]:
        return [
            *(row.id for row, _ in self.timeline),
            *(row.id for row, _, _ in self.states),
            *(row.id for row, _ in self.redactions),
        ]
