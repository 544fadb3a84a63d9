"""Restrictions: bans and kicks by moderators on Matrix, and invitations of the city's ghosts.

The homeserver enforces bans and kicks of Matrix users. They are stored because they also bind the citizen whom the user
is linked with: both are one person (``linked_accounts``).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """A restriction of a Matrix user in one room, with the moderator's reason."""

    kind: RestrictionKind
    reason: str | None


def strictest(restrictions: Sequence[Restriction | None]) -> Restriction | None:
    """Return the restriction of a person with several Matrix users.

    Args:
        restrictions: the restriction of each of the users, or None; the user who acts for the person comes first.

    Returns:
        The ban or else the kick of any of them, or else the restriction of the first one.
    """
    for kind in (RestrictionKind.BANNED, RestrictionKind.KICKED):
        for restriction in restrictions:
            if restriction is not None and restriction.kind is kind:
                return restriction
    return restrictions[0] if restrictions else None
