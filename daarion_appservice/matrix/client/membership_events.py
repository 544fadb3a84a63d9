"""Restrictions of ghosts from moderators' ``m.room.member`` events: a ban, a kick or an invitation, with its reason."""

from __future__ import annotations

from typing import Final

from ...city.event_fields import Event, content_of, optional_text, sender_of
from ...city.restrictions import Restriction, RestrictionKind
from ...city.text_sanitizing import one_line
from ...city.types import UserId

_MAX_REASON: Final = 500
"""The maximum length of a moderator's reason, in characters; the rest is cut off."""


def restriction_after(event: Event, user: UserId, before: Restriction | None) -> Restriction | None:
    """Return the restriction of a user after a membership event.

    Args:
        event: the ``m.room.member`` event with the user as its state key.
        before: the user's restriction before the event.

    Returns:
        The restriction, or None if the event leaves none.
    """
    reason = moderation_reason(event)
    match content_of(event).get("membership"):
        case "ban":
            return Restriction(RestrictionKind.BANNED, reason)
        case "invite":
            return Restriction(RestrictionKind.INVITED, None)
        case "leave" if sender_of(event) != user:
            # A `leave` by another user also revokes a ban or an invitation.
            is_kick = before is None or before.kind is RestrictionKind.KICKED
            return Restriction(RestrictionKind.KICKED, reason) if is_kick else None
    return None


def moderation_reason(event: Event) -> str | None:
    """Return the moderator's reason in a membership event, or None if it has none."""
    return one_line(optional_text(content_of(event), "reason") or "", _MAX_REASON) or None
