"""Restrictions: bans, kicks and invitations of ghosts, and bans of Matrix users, by moderators on Matrix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RestrictionKind(StrEnum):
    """A membership that differs from the room's default."""

    BANNED = "banned"
    KICKED = "kicked"
    """Removed from the room, and allowed to join again."""
    INVITED = "invited"
    """Allowed to join a room that is not public."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """A restriction of a user in one room, with the moderator's reason."""

    kind: RestrictionKind
    reason: str | None
