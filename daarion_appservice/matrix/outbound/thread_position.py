"""The position of a new message in its thread on Matrix."""

from __future__ import annotations

from dataclasses import dataclass

from ...city.types import EventId, Message
from ...storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ThreadPosition:
    """The position of a new message in its thread on Matrix."""

    root: EventId
    last: EventId
    """The newest event of the thread before the message; the root if there is none."""


async def thread_position(tx: Transaction, message: Message) -> ThreadPosition | None:
    """Return the position of a message in its thread; None in the main timeline, or if Matrix does not have the root."""
    root = await tx.messages.get(message.thread_root) if message.thread_root is not None else None
    root_event = (root.matrix_event_id if root is not None else None) or message.thread_root_event
    if root_event is None:
        return None
    last = await tx.threads.last_event(root.id, message.seq) if root is not None else None
    return ThreadPosition(root_event, last or root_event)
