"""Messages that an event from Matrix is about, with their rooms locked until the transaction ends."""

from __future__ import annotations

from ...city.event_fields import MESSAGE_ID, POLLS, Event, optional_text
from ...city.types import EventId, Message, MessageId, Room
from ...storage.database import Transaction


async def echoed_message(tx: Transaction, room: Room, content: Event) -> Message | None:
    """Return the city's message whose echo this event is, with the room locked until the transaction ends."""
    message_id = optional_text(content, MESSAGE_ID)
    if not message_id:
        return None
    await tx.rooms.lock_any(room.id)
    return await tx.messages.get(MessageId(message_id))


async def locked_message(tx: Transaction, room: Room, event_id: EventId) -> Message | None:
    """Return the room's message with this event id, with the room locked until the transaction ends."""
    await tx.rooms.lock_any(room.id)
    message = await tx.messages.by_event_id(event_id)
    return message if message and message.room_id == room.id else None


def may_have_type(message: Message, event_type: str) -> bool:
    """Return whether the message may be of this event type: only polls and stickers have types of their own."""
    is_sticker = message.media is not None and message.media.is_sticker
    return (message.details.poll is not None, is_sticker) == (event_type in POLLS, event_type == "m.sticker")
