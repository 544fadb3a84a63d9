"""The room stream: each event of a room once, in the order of its sequence numbers, without a gap.

    bus ─► is it the next number? ─yes─► sent to all listeners, encoded once
                 └─no: some are missing─► read from the database, in order, up to the newest

Sequence numbers come from the room's row in the database, in the transaction of the event itself; so when a number is
known, all lower ones are stored. An event that reaches this process late, twice or not at all (from another process, or
while Redis was away) is therefore recovered by a read. Presence and typing have no number: they are current state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..city.events import MemberChanged, MessagePosted, PresenceChanged, RoomChanged, RoomEventStored
from ..city.history_visibility import PUBLIC, ReadableRanges, is_readable_by_all, may_subscribe
from ..city.online_members import OnlineMembers
from ..city.room_sequence import renumbering_of
from ..city.types import Author, HistoryVisibility, MessageId, Room, RoomEvent, RoomEventKind, RoomId, SubjectId
from ..errors import Forbidden, NotFound
from ..storage.database import Database, Transaction
from .listeners import notify_all
from .room_typing import RoomTypingState

MAX_REPLAY: Final = 1000
"""Most events that are replayed one by one; a listener that missed more gets a resync."""
MAX_REPLAY_BYTES: Final = 512 * 1024
"""The same limit in bytes of frames."""
_REPLAY_BATCH: Final = 20
_REPLAYS: Final = 4
"""Replay batches that are read and encoded at the same time; this bounds the messages in memory for replays."""
_WAITING_BYTES: Final = 64 * 1024
"""Bytes of unnumbered frames that wait for a listener whose replay is running."""
_BATCH: Final = 200
_TICK_S: Final = 0.05
_RETRY_S: Final = 1.0
_MOVES: Final = frozenset({RoomEventKind.JOIN, RoomEventKind.LEAVE})
_END_S: Final = 5.0

log = structlog.get_logger()


class Listener(Protocol):
    """A connection that receives the frames of a room."""

    def deliver(self, frame: bytes) -> None:
        """Send a frame to the client. Return at once and never raise."""

    def remove(self) -> None:
        """End the subscription because the listener may no longer read the room. Return at once and never raise."""


class RoomStreamReader(Listener, Protocol):
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
    reading: ReadableRanges


class RoomSubscription:
    """The parts of a room that one listener may read, updated by joins and leaves in the order of the room."""

    def __init__(self) -> None:
        self.reading: ReadableRanges | None = None
        """None until the listener is identified."""
        self._subjects: frozenset[SubjectId] = frozenset()
        self._moves: list[RoomEvent] | None = None
        """Joins and leaves that arrive while the database is queried."""

    @property
    def is_outside(self) -> bool:
        return self.reading is not None and not self.reading.is_member

    def may_read(self, event: RoomEvent) -> bool:
        return self.reading is not None and self.reading.may_read_event(event)

    def ask(self) -> None:
        """Begin to identify the listener: events from now on may be newer than the database's answer."""
        self._moves = []

    def settle(self, found: Identity, seq: int) -> None:
        """Apply the answer, which includes at least all events up to ``seq``."""
        self._subjects, self.reading = found.subjects, found.reading
        moves, self._moves = self._moves or [], None
        for event in moves:
            if event.seq > seq:
                self._move(event)

    def follow(self, event: RoomEvent) -> None:
        if self._moves is not None:
            self._moves.append(event)
        self._move(event)

    def _move(self, event: RoomEvent) -> None:
        if self.reading is not None and event.kind is RoomEventKind.RESYNC:
            self.reading = self.reading.renumbered(*renumbering_of(event))
        if self.reading is None or event.who is None or event.who.subject not in self._subjects:
            return
        if event.kind is RoomEventKind.JOIN:
            self.reading = self.reading.with_join(event.seq)
        elif event.kind is RoomEventKind.LEAVE:
            self.reading = self.reading.with_leave(event.seq)


Identify = Callable[[Transaction, Room], Awaitable[Identity]]


class Frames(Protocol):
    """Encodes events as frames; each frame is encoded once for all listeners."""

    def event(self, event: RoomEvent, *, with_message: bool = True) -> bytes: ...
    def changed(self, room: Room) -> bytes: ...
    def member(self, room: RoomId, member: Author) -> bytes: ...
    def presence(self, room: RoomId, subject: SubjectId) -> bytes: ...
    def typing(self, room: RoomId, subjects: frozenset[SubjectId]) -> bytes: ...
    def resync(self, room: RoomId, seq: int) -> bytes: ...


class RoomStreams:
    """Streams of the rooms that have listeners; other rooms cost nothing."""

    def __init__(
        self, database: Database, online_members: OnlineMembers, typing: RoomTypingState, frames: Frames
    ) -> None:
        self._database = database
        self._online_members = online_members
        self._typing = typing
        self._frames = frames
        typing.tell = self._tell_typing
        self._rooms: dict[RoomId, _Room] = {}
        self._moved: set[SubjectId] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._replays = asyncio.Semaphore(_REPLAYS)
        self._ending: set[asyncio.Task[None]] = set()
        """Reads of closed streams that are still running."""

    # --- events from the bus ----------------------------------------------------------------------------

    def posted(self, posted: MessagePosted) -> None:
        message = posted.message
        self._follow(
            RoomEvent(
                message.room_id,
                message.seq,
                RoomEventKind.MESSAGE,
                message.created_at_ms,
                message,
                visibility=message.visibility,
            )
        )

    def happened(self, happened: RoomEventStored) -> None:
        self._follow(happened.event)

    def member(self, change: MemberChanged) -> None:
        """Send a member's name. The frame has no number: a client that misses it reads the name with the room."""
        if room := self._rooms.get(change.room_id):
            room.tell(self._frames.member(change.room_id, change.member))

    def changed(self, change: RoomChanged) -> None:
        if room := self._rooms.get(change.room.id):
            if not is_readable_by_all(change.room):
                room.put_outsiders_out()
            room.tell(self._frames.changed(change.room))

    def missed(self) -> None:
        """Read on in every room, because events from other processes may have been lost."""
        for room in self._rooms.values():
            room.read_on()

    def _tell_typing(self, room_id: RoomId, typing: frozenset[SubjectId], /) -> None:
        if room := self._rooms.get(room_id):
            room.tell(self._frames.typing(room_id, typing))

    def presence(self, change: PresenceChanged) -> None:
        """Collect a change for the next tick: the newest change of a subject is sent, and all changes in one write."""
        if not self._rooms:
            return
        self._moved.add(change.transition.subject)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._tell_presence)

    def _tell_presence(self) -> None:
        self._tick = None
        moved, self._moved = self._moved, set()
        frames: dict[RoomId, list[bytes]] = {}
        for subject in moved:
            for room in self._online_members.rooms_of(subject):
                if room in self._rooms:
                    frames.setdefault(room, []).append(self._frames.presence(room, subject))
        for room, told in frames.items():
            self._rooms[room].tell(b"".join(told))

    def _follow(self, event: RoomEvent) -> None:
        if room := self._rooms.get(event.room_id):
            room.follow(event)

    # --- listeners --------------------------------------------------------------------------------------

    async def subscribe(
        self, room_id: RoomId, since: int | None, listener: RoomStreamReader, identify: Identify
    ) -> None:
        """Send ``listener`` the events after ``since``, or a resync if there are too many; then all later events.

        Args:
            since: sequence number of the last event that the client has; None for no replay.
            identify: returns subjects and readable ranges of the listener.

        Raises:
            NotFound: the room does not exist any more.
            Forbidden: the listener may not read the room.
            ConnectionResetError: the connection has closed.
            SQLAlchemyError, OSError: the database does not answer.
        """
        room = await self._open(room_id)
        waiting = _Waiting()
        seat = room.waiting[waiting] = RoomSubscription()
        try:
            await self._seat(room, seat, identify)
            if since is not None:
                await self._replay(room, since, listener, seat)
            waiting.check_may_stay(room_id)
        except BaseException:
            room.waiting.pop(waiting, None)
            self._close_if_empty(room)
            raise
        if typing := self._typing.of(room_id):
            listener.deliver(self._frames.typing(room_id, typing))
        # No await between the last replayed event and the first direct one, so that no event is lost in between.
        for frame in waiting.frames:
            listener.deliver(frame)
        if waiting.is_too_much:
            listener.deliver(self._frames.resync(room_id, room.seq))
        room.waiting.pop(waiting, None)
        room.listeners[listener] = seat

    def unsubscribe(self, room_id: RoomId, listener: Listener) -> None:
        if room := self._rooms.get(room_id):
            room.listeners.pop(listener, None)
            self._close_if_empty(room)

    async def identify_again(self, room_id: RoomId, listener: Listener, identify: Identify) -> None:
        """Identify a listener again after its principal or memberships have changed.

        Raises:
            Forbidden: the listener may not read the room.
        """
        room = self._rooms.get(room_id)
        if room is not None and (seat := room.listeners.get(listener)) is not None:
            await self._seat(room, seat, identify)

    async def _seat(self, room: _Room, seat: RoomSubscription, identify: Identify) -> ReadableRanges:
        """Identify the listener of a subscription as of now and return what it may read."""
        seat.ask()
        async with self._database.reading() as tx:
            stored = await tx.rooms.find(room.id)
            if stored is None:
                raise NotFound("no_such_room", f"there is no room {room.id!r}")
            found = await identify(tx, stored)
        if not may_subscribe(stored, found.reading):
            raise members_only(stored.slug)
        seat.settle(found, stored.last_seq)
        return found.reading

    async def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        for room in self._rooms.values():
            self._let_end(room)
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=_END_S)
            for task in late:
                task.cancel()

    async def _open(self, room_id: RoomId) -> _Room:
        async with self._database.reading() as tx:
            found = await tx.rooms.find(room_id)
        if found is None:
            raise NotFound("no_such_room", f"there is no room {room_id!r}")
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room(room_id, found.last_seq, self._database, self._frames)
            # Events since that number was read were sent to no listener.
            room.read_on()
        return room

    def _close_if_empty(self, room: _Room) -> None:
        if not room.listeners and not room.waiting:
            self._let_end(room)
            self._rooms.pop(room.id, None)

    def _let_end(self, room: _Room) -> None:
        """Let a running read finish: cancelling it would cost the connection and leave its work undone."""
        if reading := room.stop():
            self._ending.add(reading)
            reading.add_done_callback(self._ending.discard)

    async def _replay(self, room: _Room, since: int, listener: RoomStreamReader, seat: RoomSubscription) -> None:
        """Send the events after ``since`` as fast as the listener reads.

        Numbered events do not wait in memory meanwhile: the replay reads them from the database.
        """
        if since > room.seq:
            # The client may come from another process that was a little ahead.
            await room.read_to_the_end()
        replay = _Replay(self._frames, listener, seat, since)
        while replay.seq != room.seq:
            if not 0 < room.seq - replay.seq <= MAX_REPLAY or not await self._replay_some(room, replay):
                listener.deliver(self._frames.resync(room.id, room.seq))
                return
            await listener.drained()

    async def _replay_some(self, room: _Room, replay: _Replay) -> bool:
        """Send the next batch; return False if it cannot be sent or the limits are exceeded."""
        async with self._replays:
            async with self._database.reading() as tx:
                missed = await tx.room_events.after(room.id, replay.seq, limit=_REPLAY_BATCH)
            return replay.deliver([event for event in missed if event.seq <= room.seq])  # the bus delivers later events


def members_only(room: str) -> Forbidden:
    """Return the error for a reader who may know that the room exists but may not read its messages."""
    return Forbidden("members_only", f"only its members may read what is said in the room {room}")


class _Replay:
    """The replay for one listener: every sequence number, and each message once in its newest state."""

    def __init__(self, frames: Frames, listener: RoomStreamReader, seat: RoomSubscription, since: int) -> None:
        self.seq = since
        """The newest number that was sent."""
        self._frames = frames
        self._listener = listener
        self._seat = seat
        self._told: set[MessageId] = set()
        self._bytes = 0

    def deliver(self, events: list[RoomEvent]) -> bool:
        """Send events until the listener is behind; the caller reads the others again.

        Returns:
            False if the client has to resync: too many bytes, no events, renumbered messages, or an event that the
            listener may not read, which would leave a gap in the numbers.
        """
        for event in events:
            if event.kind is RoomEventKind.RESYNC or not self._seat.may_read(event):
                return False
            message = event.message.id if event.message else None
            frame = self._frames.event(event, with_message=message not in self._told)
            self._bytes += len(frame)
            if self._bytes > MAX_REPLAY_BYTES:
                return False
            if message is not None:
                self._told.add(message)
            self._listener.deliver(frame)
            self.seq = event.seq
            if self._listener.is_behind:
                break
        return bool(events)


class _Waiting:
    """Collects the unnumbered frames during a replay; the replay reads numbered events from the database."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.is_too_much = False
        self._bytes = 0
        self._is_put_out = False

    def deliver(self, frame: bytes) -> None:
        self._bytes += len(frame)
        if self._bytes <= _WAITING_BYTES:
            self.frames.append(frame)
        else:
            self.is_too_much = True

    def remove(self) -> None:
        self._is_put_out = True

    def check_may_stay(self, room: RoomId) -> None:
        if self._is_put_out:
            raise members_only(room)


class _Room:
    def __init__(self, room_id: RoomId, seq: int, database: Database, frames: Frames) -> None:
        self.id = room_id
        self.seq = seq
        """The newest number that was sent."""
        self.listeners: dict[Listener, RoomSubscription] = {}
        self.waiting: dict[_Waiting, RoomSubscription] = {}
        """Subscriptions whose replay is running."""
        self._database = database
        self._frames = frames
        self._reading: asyncio.Task[None] | None = None
        self._again = False
        self._is_over = False

    def follow(self, event: RoomEvent) -> None:
        if event.seq <= self.seq:
            return  # sent already, or older history that was backfilled
        if event.seq == self.seq + 1 and self._reading is None and event.kind is not RoomEventKind.RESYNC:
            self._tell_event(event)
        else:
            self.read_on()

    def tell(self, frame: bytes) -> None:
        """Send a frame without a number."""
        notify_all("RoomFrame", (listener.deliver for listener in (*self.waiting, *self.listeners)), frame)

    def put_outsiders_out(self) -> None:
        """Remove the listeners that are not members: from now on only members may read the room."""
        outsiders = [listener for listener, seat in self.listeners.items() if seat.is_outside]
        for listener in outsiders:
            del self.listeners[listener]
        waiting = [each for each, seat in self.waiting.items() if seat.is_outside]
        notify_all("RoomFrame", (listener.remove for listener in (*waiting, *outsiders)))

    def read_on(self) -> None:
        """Send all events in the database that were not sent yet."""
        self._again = True
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def read_to_the_end(self) -> None:
        self.read_on()
        assert self._reading is not None
        await asyncio.wait([self._reading])

    def stop(self) -> asyncio.Task[None] | None:
        """End the stream and return its running read, if any."""
        self._is_over = True
        return self._reading

    async def _read(self) -> None:
        try:
            while self._again and not self._is_over:
                self._again = False
                try:
                    await self._read_all()
                except (SQLAlchemyError, OSError) as error:
                    log.warning(
                        "room_unavailable",
                        room=self.id,
                        error=str(error),
                        help="the database does not answer; trying again",
                    )
                    self._again = True
                    await asyncio.sleep(_RETRY_S)
        finally:
            self._reading = None

    async def _read_all(self) -> None:
        is_renumbered = False
        while True:
            async with self._database.reading() as tx:
                events = await tx.room_events.after(self.id, self.seq, limit=_BATCH)
            is_renumbered |= any(event.kind is RoomEventKind.RESYNC for event in events)
            for event in events:
                if is_renumbered:
                    self._pass_over(event)
                else:
                    self._tell_event(event)
            if len(events) < _BATCH or self._is_over:
                break
        if is_renumbered:
            self.tell(self._frames.resync(self.id, self.seq))

    def _pass_over(self, event: RoomEvent) -> None:
        """Count an event without sending it: after the resync clients load the room again."""
        self.seq = event.seq
        for seat in (*self.waiting.values(), *self.listeners.values()):
            seat.follow(event)
        if event.visibility is not HistoryVisibility.WORLD_READABLE:
            self.put_outsiders_out()

    def _tell_event(self, event: RoomEvent) -> None:
        self.seq = event.seq
        frame = self._frames.event(event)
        for seat in (*self.waiting.values(), *self.listeners.values()) if event.kind in _MOVES else ():
            seat.follow(event)
        if PUBLIC.may_read_event(event):
            notify_all("RoomFrame", (listener.deliver for listener in self.listeners), frame)
            return
        readers = {each for each, seat in self.listeners.items() if seat.may_read(event)}
        notify_all("RoomFrame", (listener.deliver for listener in readers), frame)
        if event.visibility is not HistoryVisibility.WORLD_READABLE:
            self.put_outsiders_out()
        # The event changes something that these listeners may not read; they learn its number only.
        others = [each for each in self.listeners if each not in readers]
        notify_all("RoomFrame", (listener.deliver for listener in others), self._frames.resync(self.id, event.seq))
