"""What happens to messages after they were written, as part of their room's history; and where late ones stand in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .events import RoomEventStored
from .ports import CityTransaction
from .types import Author, HistoryVisibility, Message, MessageId, RoomEvent, RoomEventKind, RoomId


async def record(
    tx: CityTransaction,
    kind: RoomEventKind,
    message: Message,
    who: Author,
    at_ms: int,
    *,
    key: str | None = None,
    added: bool = True,
) -> RoomEventStored:
    """Give what happened the room's next number and write it down; returns what to publish once that is committed.

    ``message`` is as it stands now.
    """
    (seq,), visibility = await tx.rooms.next_seqs(message.room_id, 1)
    event = RoomEvent(message.room_id, seq, kind, at_ms, message, who, key, added, visibility)
    await tx.room_events.add([event])
    return RoomEventStored(event)


@dataclass(frozen=True, slots=True)
class TimelinePosition:
    """Where a new message stands."""

    seq: int
    visibility: HistoryVisibility | None = None
    """How what stands there may be read; None for as the room is now."""
    moved: tuple[int, int] | None = None
    """Which numbers were raised to make room, and by how much; None for the room's next number."""


async def insert_position(
    tx: CityTransaction, room: RoomId, before: MessageId | None, *, now_ms: int
) -> TimelinePosition:
    """The room's next number for a new message, or one right before the message ``before``.

    Numbers only ever go up, and there is none left between two: so all that has the number of ``before`` or a higher one gets
    another, in the same order, above all that were given. ``note_moved`` has clients load the room again.
    """
    standing = await tx.messages.get(before) if before is not None else None
    last = await tx.rooms.next_seq(room, now_ms=now_ms)
    if standing is None or standing.room_id != room:
        return TimelinePosition(last)
    # The room is held by now; until then the message may have been moved.
    standing = await tx.messages.get(standing.id)
    assert standing is not None
    return TimelinePosition(last + 1, standing.visibility, await _make_room(tx, standing, last))


async def _make_room(tx: CityTransaction, standing: Message, last: int) -> tuple[int, int]:
    """Raise the sequence numbers of ``standing`` and all later events of its room above ``last + 1``.

    Args:
        last: the highest sequence number of the room, which the caller holds.

    Returns:
        The first number that was raised, and by how much.
    """
    first, by = standing.seq, last - standing.seq + 2
    await tx.rooms.next_seqs(standing.room_id, by - 1)
    await tx.rooms.renumber(standing.room_id, first, by=by)
    return first, by


async def move(tx: CityTransaction, message: MessageId, before: MessageId | None, at_ms: int) -> RoomEventStored | None:
    """Move a message right before another message of its room, or to the end of the room.

    Args:
        before: the message that follows it afterwards; None for the end.
        at_ms: the time of the room event that tells clients of it, in milliseconds since 1970.

    Returns:
        The event to publish after the commit; None when either message no longer exists.
    """
    moving = await tx.messages.get(message)
    if moving is None:
        return None
    (last,), _ = await tx.rooms.next_seqs(moving.room_id, 1)
    # Only now is the room's row locked: another transaction may have moved either message before.
    standing = await tx.messages.get(before) if before is not None else None
    if standing is not None and standing.room_id == moving.room_id:
        moved = await _make_room(tx, standing, last)
    elif before is None:
        await tx.rooms.next_seqs(moving.room_id, 1)
        moved = (last + 1, 0)
    else:
        return None
    moving = await tx.messages.get(message)
    assert moving is not None
    await tx.messages.move(moving, last + 1)
    return await note_moved(tx, replace(moving, seq=last + 1), moved, at_ms)


async def note_moved(tx: CityTransaction, message: Message, moved: tuple[int, int], at_ms: int) -> RoomEventStored:
    """Write down that numbers were raised, for whoever looks on or comes back; returns what to publish."""
    first, by = moved
    event = RoomEvent(
        message.room_id, message.seq - 1, RoomEventKind.RESYNC, at_ms, who=message.author, key=f"{first}+{by}"
    )
    await tx.room_events.add([event])
    return RoomEventStored(event)


def renumbering_of(event: RoomEvent) -> tuple[int, int]:
    """From which number on numbers were raised, and by how much."""
    first, _, by = (event.key or "").rpartition("+")
    return int(first), int(by)
