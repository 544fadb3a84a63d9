"""Changes of rooms as lists show them (name, last event, members online), for connections that show many rooms.

    bus ─► ids of changed rooms ─► tick ─► one read of these rooms ─► one frame for all; separate frames for members of
                                                                       unlisted rooms

A client that gets these updates need not poll ``GET /city/rooms``. Nothing is replayed: a client that reconnects reads
the list once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import structlog

from ..city.events import MembershipChanged, MessagePosted, PresenceChanged, RoomChanged, RoomEventStored
from ..city.history_visibility import is_listed, is_readable_by_all
from ..city.online_members import OnlineMembers
from ..city.presence import Status
from ..city.types import Message, Room, RoomId, SubjectId
from ..errors import DatabaseError
from ..storage.database import Database
from .fan_out import FanOut

TICK_S: Final = 1.0
"""How long changes are collected: a busy room costs one read and one frame in this time."""
_AT_ONCE: Final = 200
"""Maximum number of rooms in one read and one frame."""

log = structlog.get_logger()


class RoomUpdateListener(Protocol):
    """A connection that receives changes of rooms."""

    @property
    def subject(self) -> SubjectId | None:
        """The listener's subject; None for principals that cannot be members of rooms."""

    def rooms(self, frame: bytes) -> None:
        """Send a frame to the client. Return at once and never raise."""


class RoomUpdateFrames(Protocol):
    """Encodes changes of rooms as frames."""

    def rooms(self, rooms: Sequence[Room], last: Mapping[RoomId, Message]) -> bytes: ...
    def rooms_resync(self) -> bytes: ...


class RoomUpdates:
    """Sends changed rooms to listeners; without listeners it does nothing."""

    def __init__(
        self, database: Database, online_members: OnlineMembers, frames: RoomUpdateFrames, *, tick_s: float = TICK_S
    ) -> None:
        self._database = database
        self._online_members = online_members
        self._frames = frames
        self._tick_s = tick_s
        self._listeners: set[RoomUpdateListener] = set()
        self._fan_out = FanOut[RoomUpdateListener]("RoomUpdate")
        self._changed: set[RoomId] = set()
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: RoomUpdateListener) -> None:
        self._listeners.add(listener)

    def unlisten(self, listener: RoomUpdateListener) -> None:
        self._listeners.discard(listener)

    def on_message_posted(self, posted: MessagePosted) -> None:
        self._add({posted.message.room_id})

    def on_room_event(self, happened: RoomEventStored) -> None:
        self._add({happened.event.room_id})

    def on_room_changed(self, change: RoomChanged) -> None:
        self._add({change.room.id})

    def on_membership_changed(self, change: MembershipChanged) -> None:
        """Record a change of membership. Must be called after the online counts are updated."""
        self._add({change.room_id})

    def on_canonical_subject_changed(self, rooms: Collection[RoomId]) -> None:
        """Record rooms with a member who was linked or unlinked. Must be called after the online counts are updated."""
        self._add(set(rooms))

    def on_presence_changed(self, change: PresenceChanged) -> None:
        """Record a change of presence. Must be called after the online counts are updated.

        A change between online and away changes no count.
        """
        transition = change.transition
        if (transition.before.status is Status.OFFLINE) != (transition.after.status is Status.OFFLINE):
            self._add(set(self._online_members.rooms_of_person(transition.subject)))

    def on_bus_events_lost(self) -> None:
        """Send a resync: rooms may have changed in other processes, so clients must read their lists again."""
        if self._listeners:
            self._send(self._listeners, self._frames.rooms_resync())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _add(self, rooms: set[RoomId]) -> None:
        if not self._listeners or not rooms:
            return
        self._changed |= rooms
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send_changes())

    async def _send_changes(self) -> None:
        while self._changed and self._listeners:
            await asyncio.sleep(self._tick_s)
            changed, self._changed = self._changed, set()
            try:
                for ids in _parts(list(changed)):
                    await self._send_rooms(ids)
            except DatabaseError as error:
                log.debug("room_updates_delayed", error=str(error))
                self._changed |= changed
        self._changed.clear()

    async def _send_rooms(self, ids: Sequence[RoomId]) -> None:
        # Only the database knows which of the rooms are direct chats or unlisted.
        async with self._database.read_only() as tx:
            rooms = [room for room in await tx.rooms.by_ids(ids) if not room.is_direct]
            last = await tx.last_messages.of([room.id for room in rooms if is_readable_by_all(room)])
        if listed := [room for room in rooms if is_listed(room)]:
            self._send(self._listeners, self._frames.rooms(listed, last))
        for room in rooms:
            if not is_listed(room):
                members = [each for each in self._listeners if self._is_member(room, each.subject)]
                self._send(members, self._frames.rooms([room], last))

    def _send(self, listeners: Iterable[RoomUpdateListener], frame: bytes) -> None:
        receivers = {each: each.rooms for each in listeners}
        self._fan_out.deliver(receivers, frame, is_listening=self._listeners.__contains__)

    def _is_member(self, room: Room, subject: SubjectId | None) -> bool:
        return subject is not None and self._online_members.has_person(room.id, subject)


def _parts(ids: list[RoomId]) -> Iterator[list[RoomId]]:
    for begin in range(0, len(ids), _AT_ONCE):
        yield ids[begin : begin + _AT_ONCE]
