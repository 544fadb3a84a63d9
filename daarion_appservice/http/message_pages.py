"""Reads pages of a room's messages, limited in number and bytes, from a place in its history."""

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
_READ_AT_ONCE: Final = 50
"""The number of messages read by one query: so many more than fit may be in memory."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a page in a room's history; all None for the newest messages."""

    before: int | None = None
    after: int | None = None
    around: str | None = None
    """The id of the message in the middle of the page."""


@dataclass(frozen=True, slots=True)
class Messages:
    """A page, oldest first. ``has_older`` and ``has_newer``: whether more messages are known to exist at that end."""

    encoded: bytes
    """A JSON list."""
    first_seq: int | None = None
    last_seq: int | None = None
    has_older: bool = False
    has_newer: bool = False


class NotReadable(Exception):
    """The message in the middle does not exist, or the reader may not read it."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.id)
        self.room = room


_Read = Callable[[int | None, int], Awaitable[list[Message]]]
"""Reads messages from a sequence number on, the nearest first; the second argument is their maximum number."""


@dataclass(slots=True)
class _Page:
    """The messages that fit into a page, encoded one by one."""

    view: Callable[[Message], object]
    left: int = MAX_PAGE_BYTES
    taken: dict[MessageId, bytes] = field(default_factory=dict)

    def take(self, message: Message) -> bool:
        """Add a message; return False if it does not fit. The first message always fits."""
        encoded = orjson.dumps(self.view(message))
        if len(encoded) > self.left and self.taken:
            return False
        self.left -= len(encoded) + 1
        self.taken[message.id] = encoded
        return True

    def of(self, messages: list[Message], *, has_older: bool, has_newer: bool) -> Messages:
        if not messages:
            return Messages(b"[]")
        encoded = b"[" + b",".join(self.taken[message.id] for message in messages) + b"]"
        return Messages(encoded, messages[0].seq, messages[-1].seq, has_older, has_newer)


async def read_messages(
    tx: Transaction, room: Room, place: Place, limit: int, reading: ReadableRanges, view: Callable[[Message], object]
) -> Messages:
    """Read a page of messages.

    Args:
        tx: the transaction to read in.
        room: the room.
        place: the place of the page in the room's history.
        limit: the maximum number of messages.
        reading: the ranges that the reader may read.
        view: returns the JSON of a message.

    Raises:
        NotReadable: the message ``place.around`` does not exist, or the reader may not read it.
    """

    async def before(seq: int | None, count: int) -> list[Message]:
        return (await tx.messages.before(room.id, seq, limit=count, reading=reading))[::-1]

    async def after(seq: int | None, count: int) -> list[Message]:
        assert seq is not None
        return await tx.messages.after(room.id, seq, limit=count, reading=reading)

    page = _Page(view)
    if place.around is not None:
        middle = await tx.messages.get(MessageId(place.around))
        if middle is None or middle.room_id != room.id or not reading.may_read_message(middle):
            raise NotReadable(room)
        page.take(middle)
        whole = page.left
        page.left = whole // 2
        older, has_older = await _walk(before, middle.seq, (limit - 1) // 2, page)
        page.left += whole - whole // 2
        newer, has_newer = await _walk(after, middle.seq, limit - 1 - len(older), page)
        return page.of([*older[::-1], middle, *newer], has_older=has_older, has_newer=has_newer)
    if place.after is not None:
        newer, has_newer = await _walk(after, place.after, limit, page)
        return page.of(newer, has_older=False, has_newer=has_newer)
    older, has_older = await _walk(before, place.before, limit, page)
    return page.of(older[::-1], has_older=has_older, has_newer=False)


async def _walk(read: _Read, seq: int | None, limit: int, page: _Page) -> tuple[list[Message], bool]:
    """Return the nearest messages that fit, and whether there are more."""
    taken: list[Message] = []
    while True:
        wanted = min(limit - len(taken), _READ_AT_ONCE)
        found = await read(seq, wanted + 1)
        for message in found[:wanted]:
            if not page.take(message):
                return taken, True
            taken.append(message)
        if len(found) <= wanted or len(taken) == limit:
            return taken, len(found) > wanted
        seq = taken[-1].seq
