"""Redelivery: retries failed deliveries to Matrix, of one message or of the whole outbox."""

from __future__ import annotations

from dataclasses import replace

from .events import RoomEventStored
from .ports import CityTransaction
from .room_events import RoomEventKind
from .room_sequence import record
from .types import Author, Delivery, Message, MessageId


async def redeliver(
    tx: CityTransaction, message: Message, by: Author, now_ms: int
) -> tuple[Message, RoomEventStored | None]:
    """Move a message whose delivery failed back to the outbox, with its transaction id.

    Args:
        tx: The transaction, in which the room's row is locked.
        by: The author of the request.
        now_ms: The time in milliseconds since 1970.

    Returns:
        The message after the change, and the event to publish after the commit; None if the delivery did not fail or
            the message was deleted.
    """
    if message.deleted or not await tx.outbox.retry(message.id):
        return message, None
    await tx.messages.mark_pending(message.id)
    message = replace(message, delivery=Delivery.PENDING, delivery_error=None)
    return message, await record(tx, RoomEventKind.UPDATED, message, by, now_ms)


async def redeliver_all(tx: CityTransaction, ids: list[MessageId] | None, now_ms: int) -> int:
    """Move all failed entries back to the outbox, edits and reactions too, or only those of the messages ``ids``.

    Returns the number of entries.
    """
    failed = await tx.outbox.failed_messages(ids)
    count = 0
    for message_id in failed:
        message = await tx.messages.get(message_id)
        if message is None:
            continue
        await tx.rooms.lock_any(message.room_id)
        _, event = await redeliver(tx, message, message.author, now_ms)
        count += event is not None
    return count + await tx.outbox.retry_changes(ids)
