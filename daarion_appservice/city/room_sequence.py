"""Sequence numbers of a room: events that change messages, and messages that are inserted among older ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .events import RoomEventStored
from .ports import CityTransaction
from .room_events import RoomEvent, RoomEventKind
from .types import Author, HistoryVisibility, Message, MessageId, RoomId


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
    """Store an event of a message's room with the next number.

    Args:
        tx: The transaction.
        kind: The kind of event.
        message: The message after the change.
        who: The author of the change.
        at_ms: The time of the event in milliseconds since 1970.
        key: For REACTION, the key.
        added: For REACTION, whether it was added.

    Returns:
        The event to publish after the commit.
    """
    (seq,), visibility = await tx.rooms.next_seqs(message.room_id, 1)
    event = RoomEvent(message.room_id, seq, kind, at_ms, message, who, key, added, visibility)
    await tx.room_events.add([event])
    return RoomEventStored(event)


@dataclass(frozen=True, slots=True)
class TimelinePosition:
    """The position of a new message in its room."""

    seq: int
    visibility: HistoryVisibility | None = None
    """The history visibility at that position; None for the room's present one."""
    moved: tuple[int, int] | None = None
    """The first number that was increased, and by how much; None for a position at the end."""


async def insert_position(
    tx: CityTransaction, room: RoomId, before: MessageId | None, *, now_ms: int
) -> TimelinePosition:
    """Return the room's next number for a new message, or a number directly before the message ``before``.

    Numbers only increase, and there is none free between two. So every event from the number of ``before`` on gets a
    higher number than all existing ones, in the same order. `add_resync_event` makes clients load the room again.
    """
    following = await tx.messages.get(before) if before is not None else None
    last = await tx.rooms.next_seq(room, now_ms=now_ms)
    if following is None or following.room_id != room:
        return TimelinePosition(last)
    # The room's row is locked only now: another transaction may have moved the message before.
    following = await tx.messages.get(following.id)
    assert following is not None
    return TimelinePosition(last + 1, following.visibility, await _make_room(tx, following, last))


async def _make_room(tx: CityTransaction, following: Message, last: int) -> tuple[int, int]:
    """Raise the numbers of ``following`` and all later events of its room above ``last + 1``.

    Args:
        tx: The transaction.
        following: The message that gives up its place.
        last: The highest number of the room, whose row the caller has locked.

    Returns:
        The first number that was increased, and by how much.
    """
    first, by = following.seq, last - following.seq + 2
    await tx.rooms.next_seqs(following.room_id, by - 1)
    await tx.rooms.renumber(following.room_id, first, by=by)
    return first, by


async def move(tx: CityTransaction, message: MessageId, before: MessageId | None, at_ms: int) -> RoomEventStored | None:
    """Move a message directly before another message of its room, or to the end of the room.

    Args:
        tx: The transaction.
        message: The message to move.
        before: The message that follows it afterwards; None for the end.
        at_ms: The time of the RESYNC event in milliseconds since 1970.

    Returns:
        The event to publish after the commit; None if one of the messages no longer exists.
    """
    moving = await tx.messages.get(message)
    if moving is None:
        return None
    (last,), _ = await tx.rooms.next_seqs(moving.room_id, 1)
    # The room's row is locked only now: another transaction may have moved either message before.
    following = await tx.messages.get(before) if before is not None else None
    if following is not None and following.room_id == moving.room_id:
        moved = await _make_room(tx, following, last)
    elif before is None:
        await tx.rooms.next_seqs(moving.room_id, 1)
        moved = (last + 1, 0)
    else:
        return None
    moving = await tx.messages.get(message)
    assert moving is not None
    await tx.messages.move(moving, last + 1)
    if moving.thread_root is not None:
        await tx.threads.summarize(moving.thread_root)
    return await add_resync_event(tx, replace(moving, seq=last + 1), moved, at_ms)


async def add_resync_event(
    tx: CityTransaction, message: Message, moved: tuple[int, int], at_ms: int
) -> RoomEventStored:
    """Store a RESYNC event for connected and returning clients. Returns the event to publish after the commit."""
    first, by = moved
    event = RoomEvent(
        message.room_id, message.seq - 1, RoomEventKind.RESYNC, at_ms, who=message.author, key=f"{first}+{by}"
    )
    await tx.room_events.add([event])
    return RoomEventStored(event)


async def record_resync(tx: CityTransaction, room: RoomId, who: Author, at_ms: int) -> RoomEventStored:
    """Store a RESYNC event with the next number: something changed in messages of the room that takes no number itself.

    Args:
        tx: The transaction of the change.
        who: Who is stored as the author of the event.
        at_ms: The time in milliseconds since 1970.

    Returns:
        The event, which is published after the commit, or when clients would read the change.
    """
    (seq,), visibility = await tx.rooms.next_seqs(room, 1)
    event = RoomEvent(room, seq, RoomEventKind.RESYNC, at_ms, who=who, key=f"{seq + 1}+0", visibility=visibility)
    await tx.room_events.add([event])
    return RoomEventStored(event)


def renumbering_of(event: RoomEvent) -> tuple[int, int]:
    """Return from which number on a RESYNC event increased the numbers, and by how much."""
    first, _, by = (event.key or "").rpartition("+")
    return int(first), int(by)
