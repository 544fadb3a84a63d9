"""What happens to messages after they were written, as part of their room's history."""

from __future__ import annotations

from .events import RoomHappened
from .ports import CityTransaction
from .types import Author, Message, RoomEvent, RoomEventKind


async def record(
    tx: CityTransaction,
    kind: RoomEventKind,
    message: Message,
    who: Author,
    at_ms: int,
    *,
    key: str | None = None,
    added: bool = True,
) -> RoomHappened:
    """Give what happened the room's next number and write it down; returns what to publish once that is committed.

    ``message`` is as it stands now.
    """
    (seq,), visibility = await tx.rooms.next_seqs(message.room_id, 1)
    event = RoomEvent(message.room_id, seq, kind, at_ms, message, who, key, added, visibility)
    await tx.room_events.add([event])
    return RoomHappened(event)
