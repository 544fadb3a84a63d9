"""Read receipts: the last message that a subject has read in a room's main timeline or in one of its threads.

    m.receipt of a Matrix user ─► timelines_of ─► one receipt for each of these timelines
    read mark of a citizen or agent ─► one receipt in the timeline of the message

A receipt names a message that the city shows, and never moves backwards. A message counts as read by its author, without
a receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from .types import Author, HistoryVisibility, MessageId, RoomId, SubjectId

MAIN_THREAD_ID: Final = "main"
"""The ``thread_id`` of receipts for the main timeline."""


class ReceiptKey(NamedTuple):
    """One reader in one timeline."""

    room: RoomId
    reader: SubjectId
    thread_root: MessageId | None = None
    """The root of a thread; None for the main timeline."""


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """The message up to which a timeline was read."""

    message_id: MessageId
    seq: int
    """The message's number in the room's history."""
    at_ms: int
    """When the reader read it, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A stored receipt, with what decides who may know of it."""

    key: ReceiptKey
    position: ReadPosition
    visibility: HistoryVisibility
    """Who may read the message."""


@dataclass(frozen=True, slots=True)
class NamedReceipt:
    """A receipt with the name and avatar of its reader."""

    receipt: Receipt
    reader: Author


def timelines_of(thread_root: MessageId | None, thread_id: str | None) -> tuple[MessageId | None, ...]:
    """Return the timelines that an ``m.receipt`` marks as read, each given by its thread root, None for the main one.

    A threaded receipt marks one timeline, an unthreaded one the whole room up to its event (client-server API, "Threaded
    read receipts"). Of the threads, only that of the event itself gets a receipt.

    Args:
        thread_root: the root of the thread that the receipt's event belongs to; None in the main timeline.
        thread_id: the ``thread_id`` of the receipt; None for an unthreaded one.
    """
    if thread_root is None or thread_id == MAIN_THREAD_ID:
        return (None,)
    return (None, thread_root) if thread_id is None else (thread_root,)
