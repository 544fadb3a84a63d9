"""Sends to Matrix once more what the homeserver refused: a message by its author or an admin, or all of the outbox."""

from __future__ import annotations

from dataclasses import replace

from .events import RoomEventStored
from .ports import CityTransaction
from .room_sequence import record
from .types import Author, Delivery, Message, MessageId, RoomEventKind


async def redeliver(
    tx: CityTransaction, message: Message, by: Author, now_ms: int
) -> tuple[Message, RoomEventStored | None]:
    """Have a message that was given up wait in the outbox again, with the transaction id that it had.

    The room must be held. Returns the message as it stands then, and what to publish after the commit: None when the message
    did not fail or was deleted.
    """
    if message.deleted or not await tx.outbox.retry(message.id):
        return message, None
    await tx.messages.pending(message.id)
    message = replace(message, delivery=Delivery.PENDING, delivery_error=None)
    return message, await record(tx, RoomEventKind.UPDATED, message, by, now_ms)


async def redeliver_all(tx: CityTransaction, ids: list[MessageId] | None, now_ms: int) -> int:
    """Have everything that was given up wait again, edits and reactions too; of these messages only, if ``ids`` are given.

    Returns how many rows of the outbox wait again.
    """
    failed = await tx.outbox.failed_messages(ids)
    count = 0
    for message_id in failed:
        message = await tx.messages.get(message_id)
        if message is None:
            continue
        await tx.rooms.hold_any(message.room_id)
        _, happened = await redeliver(tx, message, message.author, now_ms)
        count += happened is not None
    return count + await tx.outbox.retry_changes(ids)
