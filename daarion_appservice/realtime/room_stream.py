"""The stream of one room: sends each event of the room once, in the order of its sequence numbers, without a gap.

    bus ─► is it the next number? ─yes─► sent to all listeners, encoded once
                 └─no: some are missing─► read from the database, in order, up to the newest

Sequence numbers come from the room's row in the database, in the transaction of the event itself; so when a number is
known, all lower ones are stored. An event that reaches this process late, twice or not at all (from another process, or
while Redis was away) is therefore recovered by a read. Presence and typing have no number: they are current state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Final, Protocol

import structlog

from ..city.history_visibility import PUBLIC
from ..city.receipts import NamedReceipt
from ..city.room_events import RoomEvent, RoomEventKind
from ..city.types import Author, HistoryVisibility, Room, RoomId, SubjectId
from ..errors import CityError, DatabaseError
from ..storage.database import Database
from .fan_out import FanOut
from .listeners import notify_all
from .room_subscription import RoomListener, RoomSubscription, members_only

_BATCH: Final = 200
"""Events that one query reads."""
_RETRY_S: Final = 1.0
_MEMBERSHIP_EVENTS: Final = frozenset({RoomEventKind.JOIN, RoomEventKind.LEAVE})

log = structlog.get_logger()


class RoomStreamFrames(Protocol):
    """Encodes events as frames; each frame is encoded once for all listeners."""

    def event(self, event: RoomEvent, *, with_message: bool = True) -> bytes: ...
    def changed(self, room: Room) -> bytes: ...
    def member(self, room: RoomId, member: Author) -> bytes: ...
    def presence(self, room: RoomId, subject: SubjectId) -> bytes: ...
    def presences(self, room: RoomId, subjects: Collection[SubjectId]) -> bytes: ...
    def typing(self, room: RoomId, subjects: frozenset[SubjectId]) -> bytes: ...
    def receipt(self, named: NamedReceipt) -> bytes: ...
    def resync(self, room: RoomId, seq: int) -> bytes: ...


class RoomStream:
    """Sends the events of one room to its listeners.

    Args:
        seq: the newest number of the room; events up to it are not sent.
    """

    def __init__(self, room_id: RoomId, seq: int, database: Database, frames: RoomStreamFrames) -> None:
        self.id = room_id
        self.seq = seq
        """The newest number that was sent."""
        self.listeners: dict[RoomListener, RoomSubscription] = {}
        self.replaying: dict[RoomListener, RoomSubscription] = {}
        """Listeners whose replay is running: they receive unnumbered frames only."""
        self._fan_out = FanOut[RoomListener]("RoomFrame")
        self._database = database
        self._frames = frames
        self._read_task: asyncio.Task[None] | None = None
        self._must_read = False
        """Whether the read task has to query the database again."""
        self._must_resync = False
        """Whether the read task has to send a resync."""
        self._is_closed = False

    @property
    def is_unused(self) -> bool:
        return not self.listeners and not self.replaying

    def add_event(self, event: RoomEvent) -> None:
        """Send an event from the bus, or read the database if events before it are missing."""
        if event.seq <= self.seq:
            return  # sent already, or older history that was backfilled
        if event.seq == self.seq + 1 and self._read_task is None and event.kind is not RoomEventKind.RESYNC:
            self._send_event(event)
        else:
            self.start_reading()

    def send(self, frame: bytes) -> None:
        """Send a frame without a number to all listeners."""
        self._deliver((*self.replaying, *self.listeners), frame)

    def send_presence(self, subjects: Collection[SubjectId]) -> None:
        """Send the presence of members: in one frame to listeners of batches, in one frame each to the others."""
        subscriptions = (*self.replaying.items(), *self.listeners.items())
        if batched := [listener for listener, each in subscriptions if each.is_batched]:
            self._deliver(batched, self._frames.presences(self.id, subjects))
        if others := [listener for listener, each in subscriptions if not each.is_batched]:
            self._deliver(others, b"".join(self._frames.presence(self.id, subject) for subject in subjects))

    def finish_sending(self) -> None:
        """Complete the deliveries of all frames so far before this function returns."""
        self._fan_out.finish()

    def send_receipts(self, receipts: Iterable[NamedReceipt]) -> None:
        """Send receipts without numbers, each to the listeners that may read its message."""
        of_public_messages: list[bytes] = []
        for named in receipts:
            receipt, frame = named.receipt, self._frames.receipt(named)
            if PUBLIC.may_read(receipt.visibility, receipt.position.seq):
                of_public_messages.append(frame)
                continue
            subscriptions = (*self.replaying.items(), *self.listeners.items())
            self._deliver((listener for listener, each in subscriptions if each.may_know_of(receipt)), frame)
        if of_public_messages:
            self.send(b"".join(of_public_messages))

    def remove_non_members(self) -> None:
        """Remove the listeners that are not members, because from now on only members may read the room."""
        removed = [listener for listener, subscription in self.listeners.items() if subscription.is_non_member]
        replaying = [listener for listener, subscription in self.replaying.items() if subscription.is_non_member]
        self._disconnect((*replaying, *removed), members_only(self.id))

    def subscriptions_of(self, subject: SubjectId) -> list[RoomSubscription]:
        """Return the subscriptions of the listeners that have this subject."""
        subscriptions = (*self.replaying.values(), *self.listeners.values())
        return [subscription for subscription in subscriptions if subscription.has_subject(subject)]

    def disconnect(self, subscription: RoomSubscription, error: CityError) -> None:
        """Remove the listener of a subscription, and end its connection with an error."""
        found = [each for each, its in (*self.replaying.items(), *self.listeners.items()) if its is subscription]
        self._disconnect(found, error)

    def start_reading(self) -> None:
        """Send all events in the database that were not sent yet, in a task."""
        self._must_read = True
        if self._read_task is None:
            self._read_task = asyncio.create_task(self._read())

    def start_resync(self) -> None:
        """Make all listeners load the room again as it is now, in a task."""
        self._must_resync = True
        self.start_reading()

    async def read_to_the_end(self) -> None:
        """Send all events in the database that were not sent yet, and wait until they are sent."""
        self.start_reading()
        assert self._read_task is not None
        await asyncio.wait([self._read_task])

    def close(self) -> asyncio.Task[None] | None:
        """End the stream and return its running read task, if any."""
        self._is_closed = True
        return self._read_task

    async def _read(self) -> None:
        try:
            while self._must_read and not self._is_closed:
                self._must_read = False
                try:
                    await self._read_all()
                except DatabaseError as error:
                    log.warning(
                        "room_unavailable",
                        room=self.id,
                        error=str(error),
                        help="the database does not answer; trying again",
                    )
                    self._must_read = True
                    await asyncio.sleep(_RETRY_S)
        finally:
            self._read_task = None

    async def _read_all(self) -> None:
        must_resync = False
        while True:
            async with self._database.read_only() as tx:
                events = await tx.room_events.after(self.id, self.seq, limit=_BATCH)
            must_resync |= self._must_resync or any(event.kind is RoomEventKind.RESYNC for event in events)
            self._must_resync = False
            for event in events:
                if must_resync:
                    self._skip_event(event)
                else:
                    self._send_event(event)
            if len(events) < _BATCH or self._is_closed:
                break
        if must_resync:
            self.send(self._frames.resync(self.id, self.seq))

    def _skip_event(self, event: RoomEvent) -> None:
        """Apply an event that precedes a resync without sending it: the clients then load the room again."""
        self.seq = event.seq
        self._update_subscriptions(event)
        if event.visibility is not HistoryVisibility.WORLD_READABLE:
            self.remove_non_members()

    def _send_event(self, event: RoomEvent) -> None:
        self.seq = event.seq
        frame = self._frames.event(event)
        if event.kind in _MEMBERSHIP_EVENTS:
            self._update_subscriptions(event)
        if PUBLIC.may_read_event(event):
            self._deliver(self.listeners, frame)
            return
        readers = {listener for listener, subscription in self.listeners.items() if subscription.may_read(event)}
        self._deliver(readers, frame)
        if event.visibility is not HistoryVisibility.WORLD_READABLE:
            self.remove_non_members()
        # The event changes something that these listeners may not read; they get its number only.
        others = [listener for listener in self.listeners if listener not in readers]
        self._deliver(others, self._frames.resync(self.id, event.seq))

    def _update_subscriptions(self, event: RoomEvent) -> None:
        for subscription in (*self.replaying.values(), *self.listeners.values()):
            subscription.apply(event)

    def _deliver(self, listeners: Iterable[RoomListener], frame: bytes) -> None:
        receivers = {listener: listener.write for listener in listeners}
        self._fan_out.deliver(receivers, frame, is_listening=self._is_listening)

    def _is_listening(self, listener: RoomListener) -> bool:
        return listener in self.listeners or listener in self.replaying

    def _disconnect(self, listeners: Collection[RoomListener], error: CityError) -> None:
        """End the connections of listeners with an error, after the frames that they may still read."""
        if listeners:
            self.finish_sending()
        for listener in listeners:
            # The replay of a listener ends by itself.
            self.listeners.pop(listener, None)
        notify_all("RoomFrame", (listener.disconnect for listener in listeners), error)
