"""Listeners of a room stream, and the parts of the room that each may read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..city.history_visibility import ReadableRanges
from ..city.receipts import Receipt
from ..city.room_events import RoomEvent, RoomEventKind
from ..city.room_sequence import renumbering_of
from ..city.types import Room, SubjectId
from ..errors import CityError, Forbidden
from ..storage.database import Transaction


class RoomListener(Protocol):
    """A connection that receives the frames of a room."""

    def write(self, frames: bytes) -> None:
        """Send frames to the client. Return at once and never raise."""

    def disconnect(self, error: CityError) -> None:
        """End the connection with an error, because it may no longer read the room. Return at once and never raise."""


class RoomStreamReader(RoomListener, Protocol):
    """A listener that receives its replay as fast as it reads."""

    @property
    def is_behind(self) -> bool: ...

    async def drained(self) -> None:
        """Wait until the listener is not behind.

        Raises:
            ConnectionResetError: the connection has closed.
        """


@dataclass(frozen=True, slots=True)
class Identity:
    """Subjects of a listener and the parts of the room that it may read."""

    subjects: frozenset[SubjectId]
    readable: ReadableRanges


Identify = Callable[[Transaction, Room], Awaitable[Identity]]
"""Return the identity of a listener, read in a transaction."""


class RoomSubscription:
    """The parts of a room that one listener may read, updated by joins and leaves in the order of the room.

    Args:
        identify: returns the identity of the listener.
        is_batched: whether the listener gets the presence changes of one tick in one frame.
    """

    def __init__(self, identify: Identify, *, is_batched: bool = False) -> None:
        self.identify = identify
        self.is_batched = is_batched
        self.identification = asyncio.Lock()
        """Held while the listener is being identified."""
        self._readable: ReadableRanges | None = None
        """None until the listener is identified."""
        self._subjects: frozenset[SubjectId] = frozenset()
        self._concurrent_events: list[RoomEvent] | None = None
        """Joins and leaves that arrive while the database is queried; None while it is not."""

    @property
    def is_non_member(self) -> bool:
        """Whether the listener is identified and not a member of the room."""
        return self._readable is not None and not self._readable.is_member

    def has_subject(self, subject: SubjectId) -> bool:
        """Return whether this is a subject of the listener, as of its last identification."""
        return subject in self._subjects

    def may_read(self, event: RoomEvent) -> bool:
        return self._readable is not None and self._readable.may_read_event(event)

    def may_know_of(self, receipt: Receipt) -> bool:
        """Return whether the listener may read the message of a receipt."""
        return self._readable is not None and self._readable.may_read(receipt.visibility, receipt.position.seq)

    def reset_reading(self) -> None:
        """Let the listener read only what everyone may read, until it is identified again."""
        self._readable = None

    def begin_identification(self) -> None:
        """Collect events from now on, because they may be newer than the identity that the database returns."""
        self._concurrent_events = []

    def set_identity(self, identity: Identity, seq: int) -> None:
        """Set the identity, which includes at least all events up to ``seq``."""
        self._subjects, self._readable = identity.subjects, identity.readable
        concurrent_events, self._concurrent_events = self._concurrent_events or [], None
        for event in concurrent_events:
            if event.seq > seq:
                self._update_ranges(event)

    def apply(self, event: RoomEvent) -> None:
        """Update the readable ranges by a join, leave or resync."""
        if self._concurrent_events is not None:
            self._concurrent_events.append(event)
        self._update_ranges(event)

    def _update_ranges(self, event: RoomEvent) -> None:
        if self._readable is not None and event.kind is RoomEventKind.RESYNC:
            self._readable = self._readable.renumbered(*renumbering_of(event))
        if self._readable is None or event.who is None or event.who.subject not in self._subjects:
            return
        if event.kind is RoomEventKind.JOIN:
            self._readable = self._readable.with_join(event.seq)
        elif event.kind is RoomEventKind.LEAVE:
            self._readable = self._readable.with_leave(event.seq)


def members_only(room: str) -> Forbidden:
    """Return the error for a reader who may know that the room exists but may not read its messages."""
    return Forbidden("members_only", f"only members may read the room {room}")
