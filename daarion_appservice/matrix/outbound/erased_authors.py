"""Messages that were being sent while their author was erased."""

from __future__ import annotations

from ...city.events import CityEvent
from ...city.identity import Identities
from ...city.types import EventId, Message
from ...storage.database import Transaction
from ...storage.personal_data.erasures import PendingRedaction


async def redact_sent(
    tx: Transaction, identities: Identities, message: Message, event_id: EventId, erasure: str
) -> list[CityEvent]:
    """Store the event of a message whose author was erased for redaction.

    Args:
        tx: the transaction that records the message as sent.
        identities: the names of the city's users.
        message: the message, which is deleted already.
        event_id: its event.
        erasure: the id of the erasure.

    Returns:
        The events to publish after the commit.
    """
    room, stored = await tx.rooms.get(message.room_id), await tx.erasures.get(erasure)
    await tx.messages.mark_sent(message.id, event_id)
    await tx.rooms.mark_history_changed(message.room_id)
    if room is not None and room.matrix_room_id is not None:
        ghosts = stored.data_subject.ghosts if stored is not None and stored.data_subject is not None else ()
        sender = next(iter(ghosts), identities.service_user(room))
        await tx.erasures.add_redactions(erasure, [PendingRedaction(event_id, room.matrix_room_id, sender)])
    return []
