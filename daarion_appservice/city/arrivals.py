"""What is known of a message from Matrix when it arrives, and what the city waited for it with."""

from __future__ import annotations

from dataclasses import dataclass

from .events import CityEvent
from .types import Member


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the city has of a message's event, read together with its room."""

    sender: Member | None
    """The sender as a member of the city room; None for others, and in direct chats."""
    is_stored: bool
    """Whether the city has the message already."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What arrived before the message that it is about, read when the message is stored."""

    replies: bool = False
    """Whether replies in the thread of the message arrived before it."""
    edits: bool = False
    """Whether edits of the message arrived before it."""


@dataclass(frozen=True, slots=True)
class Received:
    """A stored message from Matrix."""

    events: tuple[CityEvent, ...] = ()
    """The events to publish after the commit; none if the city had the message already."""
    has_edits: bool = False
    """Whether edits of the message arrived before it."""
