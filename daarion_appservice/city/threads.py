"""Threads of messages (client-server API, "Threading").

A reply in a thread names the thread's root, a message of the main timeline. The root has a summary of the replies, which
changes with each reply and deletion; clients receive it as an update of the root.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InvalidInput
from .events import RoomEventStored
from .history_visibility import ReadableRanges
from .message_lookup import find_message, find_message_of_event
from .ports import CityTransaction
from .room_events import RoomEventKind
from .room_sequence import record
from .types import Author, EventId, Message, MessageId, Room


@dataclass(frozen=True, slots=True)
class Thread:
    """The thread that a message belongs to; both fields are None in the main timeline."""

    root: MessageId | None = None
    """None if the city does not have the root (yet)."""
    root_event: EventId | None = None
    """The event of the root, if the message came from Matrix or replies to one that did."""


async def thread_to_post_in(
    tx: CityTransaction, room: Room, thread_root: str | None, replied_to: Message | None, readable: ReadableRanges
) -> Thread:
    """Return the thread that a new message of the city belongs to.

    A reply to a message of a thread belongs to that thread, even if the author names no root.

    Args:
        tx: The transaction.
        room: The room of the message.
        thread_root: The id of the root that the author names.
        replied_to: The message that it replies to.
        readable: The ranges that the author may read.

    Raises:
        NotFound: The room has no such root, or the author may not read it.
        InvalidInput: The root is itself a reply in a thread, or the message replied to belongs to another thread.
    """
    if thread_root is None:
        return _thread_of(replied_to)
    root = await find_message(tx, room, thread_root, readable)
    if root.thread_root is not None or root.thread_root_event is not None:
        detail = "this message is in a thread already: name the root of that thread"
        raise InvalidInput("no_thread_root", detail, status=422)
    if replied_to is not None and root.id not in {replied_to.id, replied_to.thread_root}:
        detail = "the message that is replied to does not belong to this thread"
        raise InvalidInput("other_thread", detail, status=422)
    return Thread(root.id)


async def thread_of_event(
    tx: CityTransaction, room: Room, root_event: EventId | None, replied_to: Message | None
) -> Thread:
    """Return the thread that a message from Matrix belongs to.

    Clients without threads reply to a message of a thread without naming the thread; the reply belongs to it.
    """
    if root_event is None:
        return _thread_of(replied_to)
    root = await find_message_of_event(tx, root_event)
    if root is None or root.room_id != room.id:
        return Thread(None, root_event)
    return Thread(root.thread_root or root.id, root_event)


def _thread_of(message: Message | None) -> Thread:
    return Thread() if message is None else Thread(message.thread_root, message.thread_root_event)


async def update_threads(
    tx: CityTransaction, message: Message, at_ms: int, *, has_replies: bool = False, is_history: bool = False
) -> list[RoomEventStored]:
    """Update the summaries of the threads that a new message belongs to or is the root of.

    A backfill stores the newest messages first, so replies arrive before their root.

    Args:
        tx: The transaction.
        message: A message that was just stored.
        at_ms: The present time in milliseconds since 1970.
        has_replies: Whether replies in the thread of the message were stored before it.
        is_history: Whether the message is part of a room's earlier history, of which clients receive no events.

    Returns:
        The events to publish after the commit.
    """
    roots = [message.thread_root] if message.thread_root is not None else []
    is_root = message.matrix_event_id is not None and message.thread_root_event is None
    if is_root and has_replies and await tx.threads.attach(message):
        roots.append(message.id)
    if is_history:
        for root in roots:
            await tx.threads.summarize(root)
        return []
    return [event for root in roots for event in await update_summary(tx, root, message.author, at_ms)]


async def update_summary(tx: CityTransaction, root: MessageId, who: Author, at_ms: int) -> list[RoomEventStored]:
    """Count the replies of a thread again.

    Args:
        tx: The transaction.
        root: The root of the thread.
        who: The author of the change.
        at_ms: The time of the change in milliseconds since 1970.

    Returns:
        The events to publish after the commit.
    """
    message = await tx.messages.get(root)
    if message is None:
        return []
    summary = await tx.threads.summarize(root)
    if summary == message.thread:
        return []
    return [await record(tx, RoomEventKind.UPDATED, replace(message, thread=summary), who, at_ms)]
