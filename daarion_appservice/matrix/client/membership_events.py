"""What an ``m.room.member`` event by a moderator means for a ghost: a ban, a kick or an invitation, with its reason."""

from __future__ import annotations

from typing import Final

from ...city.event_fields import Event, content_of, optional_text, sender_of
from ...city.text_sanitizing import one_line
from ...city.types import Restriction, RestrictionKind, UserId

_MAX_REASON: Final = 500
"""Characters of what a moderator says that are kept."""


def restriction_after(event: Event, user: UserId, before: Restriction | None) -> Restriction | None:
    """Return the restriction of a ghost after an event about its membership, or None when there is none."""
    reason = moderation_reason(event)
    match content_of(event).get("membership"):
        case "ban":
            return Restriction(RestrictionKind.BANNED, reason)
        case "invite":
            return Restriction(RestrictionKind.INVITED, None)
        case "leave" if sender_of(event) != user:
            # The same event takes back a ban or an invitation.
            is_kick = before is None or before.kind is RestrictionKind.KICKED
            return Restriction(RestrictionKind.KICKED, reason) if is_kick else None
    return None


def moderation_reason(event: Event) -> str | None:
    """What a moderator says; None for nothing."""
    return one_line(optional_text(content_of(event), "reason") or "", _MAX_REASON) or None
