"""Reads pages of a room's messages, limited in number and bytes, from a position in its history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from ..city.history_visibility import ReadableRanges
from ..city.types import Message, MessageId, Room
from ..storage.database import Transaction

MAX_PAGE_BYTES: Final = 256 * 1024
"""The limit of one page as JSON; a page of a single message may be larger."""
_BATCH: Final = 50
"""The number of messages read by one query, and so the number of messages in memory that may not fit into the page."""


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The position of a page in a room's history; all None for the newest messages."""

    before: int | None = None
    after: int | None = None
    around: str | None = None
    """The id of the message in the middle of the page."""
    thread: str | None = None
    """The id of the root of a thread, whose replies the page has; None for all messages of the room."""
    around_ms: int | None = None
    """A time in milliseconds since 1970; the first message from then on is in the middle of the page."""


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page, oldest first. ``has_older`` and ``has_newer``: whether more messages are known to exist at that end."""

    encoded: bytes
    """A JSON list."""
    first_seq: int | None = None
    last_seq: int | None = None
    has_older: bool = False
    has_newer: bool = False


class NotReadable(Exception):
    """The message in the middle or the root of the thread does not exist, or the reader may not read it."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.id)
        self.room = room


_Read = Callable[[int | None, int], Awaitable[list[Message]]]
"""Reads messages from a sequence number on, the nearest first; the second argument is their maximum number."""


@dataclass(slots=True)
class _PageBuilder:
    """Encodes messages one by one, up to the limit of a page.

    Attributes:
        view: returns the response model of a message.
        bytes_left: the number of bytes that the next messages may have.
    """

    view: Callable[[Message], object]
    bytes_left: int = MAX_PAGE_BYTES
    encoded: dict[MessageId, bytes] = field(default_factory=dict)

    def add(self, message: Message) -> bool:
        """Add a message; return False if it does not fit. The first message always fits."""
        encoded = orjson.dumps(self.view(message))
        if len(encoded) > self.bytes_left and self.encoded:
            return False
        self.bytes_left -= len(encoded) + 1
        self.encoded[message.id] = encoded
        return True

    def build(self, messages: list[Message], *, has_older: bool, has_newer: bool) -> MessagePage:
        if not messages:
            return MessagePage(b"[]")
        encoded = b"[" + b",".join(self.encoded[message.id] for message in messages) + b"]"
        return MessagePage(encoded, messages[0].seq, messages[-1].seq, has_older, has_newer)


async def read_messages(
    tx: Transaction,
    room: Room,
    position: PagePosition,
    limit: int,
    readable: ReadableRanges,
    view: Callable[[Message], object],
) -> MessagePage:
    """Read a page of messages.

    Args:
        tx: the transaction to read in.
        position: the position of the page in the room's history.
        limit: the maximum number of messages.
        readable: the ranges that the reader may read.
        view: returns the response model of a message.

    Raises:
        NotReadable: the message ``position.around`` or ``position.thread`` does not exist, or the reader may not read it.
    """
    root = None
    if position.thread is not None:
        root = (await _readable_message(tx, room, position.thread, readable)).id

    async def before(seq: int | None, count: int) -> list[Message]:
        if root is not None:
            return (await tx.threads.before(root, seq, limit=count, readable=readable))[::-1]
        return (await tx.messages.before(room.id, seq, limit=count, readable=readable))[::-1]

    async def after(seq: int | None, count: int) -> list[Message]:
        assert seq is not None
        if root is not None:
            return await tx.threads.after(root, seq, limit=count, readable=readable)
        return await tx.messages.after(room.id, seq, limit=count, readable=readable)

    page = _PageBuilder(view)
    if (middle := await _middle(tx, room, position, readable)) is not None:
        page.add(middle)
        bytes_left = page.bytes_left
        page.bytes_left = bytes_left // 2
        older, has_older = await _read_until_full(before, middle.seq, (limit - 1) // 2, page)
        page.bytes_left += bytes_left - bytes_left // 2
        newer, has_newer = await _read_until_full(after, middle.seq, limit - 1 - len(older), page)
        return page.build([*older[::-1], middle, *newer], has_older=has_older, has_newer=has_newer)
    if position.after is not None:
        newer, has_newer = await _read_until_full(after, position.after, limit, page)
        return page.build(newer, has_older=False, has_newer=has_newer)
    older, has_older = await _read_until_full(before, position.before, limit, page)
    return page.build(older[::-1], has_older=has_older, has_newer=False)


async def _middle(tx: Transaction, room: Room, position: PagePosition, readable: ReadableRanges) -> Message | None:
    """Return the message in the middle of the page; None for a page that begins or ends at a number or at the end."""
    if position.around is not None:
        return await _readable_message(tx, room, position.around, readable)
    if position.around_ms is not None:
        thread = MessageId(position.thread) if position.thread is not None else None
        return await tx.messages.first_since(room.id, position.around_ms, readable=readable, thread=thread)
    return None


async def _readable_message(tx: Transaction, room: Room, message_id: str, readable: ReadableRanges) -> Message:
    message = await tx.messages.get(MessageId(message_id))
    if message is None or message.room_id != room.id or not readable.may_read_message(message):
        raise NotReadable(room)
    return message


async def _read_until_full(read: _Read, seq: int | None, limit: int, page: _PageBuilder) -> tuple[list[Message], bool]:
    """Return the nearest messages that fit, and whether there are more."""
    messages: list[Message] = []
    while True:
        size = min(limit - len(messages), _BATCH)
        batch = await read(seq, size + 1)
        for message in batch[:size]:
            if not page.add(message):
                return messages, True
            messages.append(message)
        if len(batch) <= size or len(messages) == limit:
            return messages, len(batch) > size
        seq = messages[-1].seq
