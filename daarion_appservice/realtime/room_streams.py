"""The streams of all rooms that have listeners: receives events from the bus, and subscribes WebSockets with replay."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Final

import structlog

from ..city.events import (
    ChatReadersChanged,
    MemberChanged,
    MessagePosted,
    PresenceChanged,
    ReceiptsChanged,
    RoomChanged,
    RoomEventStored,
    RoomRemoved,
)
from ..city.history_visibility import is_readable_by_all, may_subscribe
from ..city.online_members import OnlineMembers
from ..city.room_events import RoomEvent, RoomEventKind
from ..city.types import RoomId, SubjectId
from ..errors import CityError, DatabaseError, NotFound, Unavailable
from ..storage.database import Database
from .message_steps import Step, measured_step
from .room_replay import Replay, ReplayBuffer
from .room_stream import RoomStream, RoomStreamFrames
from .room_subscription import Identify, RoomListener, RoomStreamReader, RoomSubscription, members_only
from .room_typing import RoomTypingState

_REPLAY_BATCH: Final = 20
"""Events that one query of a replay reads."""
_CONCURRENT_REPLAYS: Final = 4
"""Replay batches that are read and encoded at the same time; this bounds the messages in memory for replays."""
_PRESENCE_INTERVAL_S: Final = 0.05
"""How long presence changes are collected before they are sent in one write, in seconds."""
_CLOSE_TIMEOUT_S: Final = 5.0
"""How long running reads may take at the end, in seconds."""

log = structlog.get_logger()


class RoomStreams:
    """Streams of the rooms that have listeners; other rooms cost nothing."""

    def __init__(
        self, database: Database, online_members: OnlineMembers, typing: RoomTypingState, frames: RoomStreamFrames
    ) -> None:
        self._database = database
        self._online_members = online_members
        self._typing = typing
        self._frames = frames
        typing.publish = self._send_typing
        self._streams: dict[RoomId, RoomStream] = {}
        self._presence_changes: set[SubjectId] = set()
        self._presence_timer: asyncio.TimerHandle | None = None
        self._replay_slots = asyncio.Semaphore(_CONCURRENT_REPLAYS)
        self._closing_reads: set[asyncio.Task[None]] = set()
        """Reads of closed streams that are still running."""
        self._identifications: set[asyncio.Task[None]] = set()

    # --- events from the bus ----------------------------------------------------------------------------

    def on_message_posted(self, posted: MessagePosted) -> None:
        message = posted.message
        event = RoomEvent(
            message.room_id,
            message.seq,
            RoomEventKind.MESSAGE,
            message.created_at_ms,
            message,
            visibility=message.visibility,
        )
        if message.room_id in self._streams:
            with measured_step(Step.WRITTEN):
                self._add_event(event)

    def on_room_event(self, happened: RoomEventStored) -> None:
        self._add_event(happened.event)

    def on_member_changed(self, change: MemberChanged) -> None:
        """Send a member's name. The frame has no number: a client that misses it reads the name with the room."""
        if stream := self._streams.get(change.room_id):
            stream.send(self._frames.member(change.room_id, change.member))

    def on_receipts_changed(self, change: ReceiptsChanged) -> None:
        """Send receipts. The frames have no number: a client that misses them reads the receipts with the room."""
        if stream := self._streams.get(change.room_id):
            stream.send_receipts(change.receipts)

    def on_room_changed(self, change: RoomChanged) -> None:
        if stream := self._streams.get(change.room.id):
            if not is_readable_by_all(change.room):
                stream.remove_non_members()
            stream.send(self._frames.changed(change.room))

    def on_room_removed(self, removed: RoomRemoved) -> None:
        """End the connections of all listeners of the room."""
        if stream := self._streams.get(removed.room_id):
            for subscription in (*stream.replaying.values(), *stream.listeners.values()):
                stream.disconnect(subscription, _no_such_room(removed.room_id))
            self._close_if_unused(stream)

    def on_bus_events_lost(self) -> None:
        """Read the database for every room, because events from other processes may have been lost."""
        for stream in self._streams.values():
            stream.start_reading()

    def on_canonical_subject_changed(self, citizen: SubjectId, rooms: Collection[RoomId]) -> None:
        """Identify the listeners of a citizen who was linked or unlinked again: the account's memberships count as theirs.

        Clients of ``rooms``, of which the citizen is a member, read the rooms again.
        """
        for each in self._streams.values():
            self._start_identification(each, each.subscriptions_of(citizen))
        for room_id in rooms:
            if stream := self._streams.get(room_id):
                stream.start_resync()

    def on_chat_readers_changed(self, change: ChatReadersChanged) -> None:
        """Identify the listeners of a direct chat again, and disconnect those who may not read it any more."""
        if stream := self._streams.get(change.room_id):
            self._start_identification(stream, [*stream.replaying.values(), *stream.listeners.values()])

    def _start_identification(self, stream: RoomStream, subscriptions: Iterable[RoomSubscription]) -> None:
        for subscription in subscriptions:
            subscription.reset_reading()
            task = asyncio.create_task(self._identify_or_disconnect(stream, subscription))
            self._identifications.add(task)
            task.add_done_callback(self._identifications.discard)

    def on_presence_changed(self, change: PresenceChanged) -> None:
        """Collect a change until the timer ends: the newest state of a subject is sent, and all subjects in one write."""
        if not self._streams:
            return
        self._presence_changes.add(change.transition.subject)
        if self._presence_timer is None:
            loop = asyncio.get_running_loop()
            self._presence_timer = loop.call_later(_PRESENCE_INTERVAL_S, self._send_presence)

    def _send_presence(self) -> None:
        self._presence_timer = None
        subjects, self._presence_changes = self._presence_changes, set()
        changed: dict[RoomId, list[SubjectId]] = {}
        for subject in subjects:
            for room_id in self._online_members.rooms_of_person(subject):
                if room_id in self._streams:
                    changed.setdefault(room_id, []).append(subject)
        for room_id, members in changed.items():
            self._streams[room_id].send_presence(members)

    def _send_typing(self, room_id: RoomId, typing: frozenset[SubjectId], /) -> None:
        if stream := self._streams.get(room_id):
            stream.send(self._frames.typing(room_id, typing))

    def _add_event(self, event: RoomEvent) -> None:
        if stream := self._streams.get(event.room_id):
            stream.add_event(event)

    # --- listeners --------------------------------------------------------------------------------------

    async def subscribe(
        self,
        room_id: RoomId,
        since: int,
        listener: RoomStreamReader,
        identify: Identify,
        *,
        is_batched: bool = False,
    ) -> None:
        """Send ``listener`` the events after ``since``, or a resync if there are too many; then all later events.

        Args:
            since: sequence number of the last event that the client has.
            identify: returns subjects and readable ranges of the listener.
            is_batched: send the presence changes of one tick in one frame.

        Raises:
            NotFound: the room does not exist any more.
            Forbidden: the listener may not read the room.
            ConnectionResetError: the connection has closed.
            DatabaseError: the database does not answer.
        """
        stream = await self._open(room_id)
        buffer = ReplayBuffer()
        subscription = stream.replaying[buffer] = RoomSubscription(identify, is_batched=is_batched)
        try:
            await self._identify(stream, subscription)
            await self._replay(stream, since, listener, subscription)
            buffer.check_connected()
        except BaseException:
            stream.replaying.pop(buffer, None)
            self._close_if_unused(stream)
            raise
        if typing := self._typing.of(room_id):
            listener.write(self._frames.typing(room_id, typing))
        # No await between the last replayed event and the first direct one, so that no event is lost in between.
        stream.finish_sending()
        for frame in buffer.frames:
            listener.write(frame)
        if buffer.has_overflowed:
            listener.write(self._frames.resync(room_id, stream.seq))
        stream.replaying.pop(buffer, None)
        stream.listeners[listener] = subscription

    def unsubscribe(self, room_id: RoomId, listener: RoomListener) -> None:
        if stream := self._streams.get(room_id):
            stream.listeners.pop(listener, None)
            self._close_if_unused(stream)

    async def identify_again(self, room_id: RoomId, listener: RoomListener) -> None:
        """Identify a listener again after its principal has changed, and disconnect it if it may not read the room."""
        stream = self._streams.get(room_id)
        if stream is not None and (subscription := stream.listeners.get(listener)) is not None:
            await self._identify_or_disconnect(stream, subscription)

    async def close(self) -> None:
        """Stop all streams and wait for their running reads."""
        if self._presence_timer is not None:
            self._presence_timer.cancel()
        for identification in self._identifications:
            identification.cancel()
        for stream in self._streams.values():
            self._close(stream)
        if self._closing_reads:
            _, late = await asyncio.wait(self._closing_reads, timeout=_CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def _identify_or_disconnect(self, stream: RoomStream, subscription: RoomSubscription) -> None:
        try:
            await self._identify(stream, subscription)
        except CityError as error:
            stream.disconnect(subscription, error)
        except DatabaseError as error:
            log.debug("identification_failed", room=stream.id, error=str(error))
            stream.disconnect(subscription, Unavailable("database_unavailable", "the database does not answer"))

    async def _identify(self, stream: RoomStream, subscription: RoomSubscription) -> None:
        """Set the identity of a subscription's listener as of now.

        Raises:
            NotFound, Forbidden: as `subscribe`.
        """
        # Identifications of one listener run one at a time, so that an older identity never replaces a newer one.
        async with subscription.identification:
            subscription.begin_identification()
            async with self._database.read_only() as tx:
                room = await tx.rooms.find_shown(stream.id)
                if room is None:
                    raise _no_such_room(stream.id)
                identity = await subscription.identify(tx, room)
            if not may_subscribe(room, identity.readable):
                raise members_only(room.slug)
            subscription.set_identity(identity, room.last_seq)

    async def _open(self, room_id: RoomId) -> RoomStream:
        async with self._database.read_only() as tx:
            room = await tx.rooms.find_shown(room_id)
        if room is None:
            raise _no_such_room(room_id)
        stream = self._streams.get(room_id)
        if stream is None:
            stream = self._streams[room_id] = RoomStream(room_id, room.last_seq, self._database, self._frames)
            # Events since that number was read were sent to no listener.
            stream.start_reading()
        return stream

    def _close_if_unused(self, stream: RoomStream) -> None:
        if stream.is_unused:
            self._close(stream)
            self._streams.pop(stream.id, None)

    def _close(self, stream: RoomStream) -> None:
        """Let a running read finish: cancelling it would cost the connection and leave its work undone."""
        if read_task := stream.close():
            self._closing_reads.add(read_task)
            read_task.add_done_callback(self._closing_reads.discard)

    async def _replay(
        self, stream: RoomStream, since: int, listener: RoomStreamReader, subscription: RoomSubscription
    ) -> None:
        """Send the events after ``since`` as fast as the listener reads.

        Numbered events do not wait in memory meanwhile: the replay reads them from the database.
        """
        if since > stream.seq:
            # The client may come from another process that was a little ahead.
            await stream.read_to_the_end()
        replay = Replay(self._frames, listener, subscription, since)
        while replay.seq != stream.seq:
            if not replay.is_possible(stream.seq) or not await self._replay_batch(stream, replay):
                listener.write(self._frames.resync(stream.id, stream.seq))
                return
            await listener.drained()

    async def _replay_batch(self, stream: RoomStream, replay: Replay) -> bool:
        """Send the next batch; return False if it cannot be sent or the limits are exceeded."""
        async with self._replay_slots:
            async with self._database.read_only() as tx:
                events = await tx.room_events.after(stream.id, replay.seq, limit=_REPLAY_BATCH)
            # The bus delivers events above ``stream.seq``.
            return replay.deliver([event for event in events if event.seq <= stream.seq])


def _no_such_room(room_id: RoomId) -> NotFound:
    return NotFound("no_such_room", f"there is no room {room_id!r}")
