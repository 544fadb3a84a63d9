"""What happens in the city and others may want to know at once. Published after the fact is stored, never before."""

from __future__ import annotations

from dataclasses import dataclass

from .presence import Transition
from .types import Message, RoomId, SubjectId


@dataclass(frozen=True, slots=True)
class MessagePosted:
    """A message is in the city, from whichever side it came."""

    message: Message


@dataclass(frozen=True, slots=True)
class RegistryChanged:
    """Agents, tokens or rooms came, went, or are described differently now; or dead events live again."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    room_id: RoomId
    subject: SubjectId
    joined: bool


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    transition: Transition


CityEvent = MessagePosted | RegistryChanged | MembershipChanged | PresenceChanged
