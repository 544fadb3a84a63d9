"""Bans and kicks that remove the messages of the person, too (MSC4293)."""

from __future__ import annotations

from typing import Final

from ...city.event_fields import Event, content_of, sender_of
from ...city.events import CityEvent, MessageRemovalStored
from ...city.power_levels import may_redact, may_send
from ...city.types import Room, UserId
from ...storage.database import Transaction
from ...storage.message_removals import MessageRemoval

_KEYS: Final = ("redact_events", "org.matrix.msc4293.redact_events")
"""The keys of the content by which a ban or kick removes the events of the person."""


async def begin_message_removal(
    tx: Transaction, room: Room, user: UserId, event: Event, *, now_ms: int
) -> list[CityEvent]:
    """Store that the messages of a removed user are to be deleted, if the moderator wants and may do that.

    Args:
        tx: the transaction that marks the event as done.
        room: the room.
        user: the user.
        event: the ban or kick, an ``m.room.member`` event.
        now_ms: the time in milliseconds since 1970.

    Returns:
        The events to publish after the commit.
    """
    by, content = UserId(sender_of(event)), content_of(event)
    is_wanted = by != user and any(content.get(key) is True for key in _KEYS)
    # Clients require the rights for a redaction of the membership event, which is the moderator's own.
    may_send_it = may_send(room.power_levels, by, "m.room.redaction")
    if not is_wanted or not may_send_it or not may_redact(room.power_levels, by):
        return []
    seqs, _ = await tx.rooms.next_seqs(room.id, 0)
    await tx.message_removals.begin(MessageRemoval(room.id, user, by, seqs.stop - 1, now_ms))
    return [MessageRemovalStored()]
