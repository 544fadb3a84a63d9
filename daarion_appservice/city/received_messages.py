"""What the city has stored about a Matrix event when it receives the event as a message."""

from __future__ import annotations

from dataclasses import dataclass

from .events import CityEvent
from .types import Member


@dataclass(frozen=True, slots=True)
class EventLookup:
    """What is stored about the event of a message before it is handled, read together with its room."""

    sender: Member | None
    """The sender as a member of the city room; None for others, and in direct chats."""
    is_stored: bool
    """Whether the message of the event is stored already."""


@dataclass(frozen=True, slots=True)
class EarlyEvents:
    """Which events that refer to a message were received before it, as read when the message is stored."""

    has_replies: bool = False
    """Whether there are replies in the thread of the message."""
    has_edits: bool = False
    """Whether there are edits of the message."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """The result of storing a message from Matrix."""

    events: tuple[CityEvent, ...] = ()
    """The events to publish after the commit; none if the message was stored already."""
    has_early_edits: bool = False
    """Whether edits of the message were received before it."""
