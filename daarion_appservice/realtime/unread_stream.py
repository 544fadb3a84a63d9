"""Unread counts of connected citizens: counted once by queries, then kept up to date by the events of the bus.

    connection ─► count (queries of this citizen) ─► snapshot
    bus ─► readers of the room: counts in memory ─► tick ─► one frame for each citizen with changes
                └─ stale rooms ─► count again, at the next tick

A message costs no query, however many readers its room has. Nothing is replayed: each connection begins with a snapshot.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from ..city.events import (
    CanonicalSubjectChanged,
    ChatReadersChanged,
    LocalUserRead,
    MembershipChanged,
    MessagePosted,
    NotificationModeChanged,
    ReceiptsChanged,
    RoomChanged,
    RoomEventStored,
    RoomRemoved,
)
from ..city.history_visibility import is_readable_by_all
from ..city.identity import Identities
from ..city.reader_memberships import ReaderMemberships
from ..city.room_events import RoomEventKind
from ..city.types import Author, HistoryVisibility, Message, MessageId, RoomId, SubjectId
from ..city.unread import ROOM_MENTION, RoomUnread, mentioned_people
from ..errors import DatabaseError
from ..storage.database import Database
from .listeners import notify_all
from .unread_counts import count_unread
from .unread_reader import UnreadReader

TICK_S: Final = 1.0
"""How long changes are collected, in seconds: a citizen gets at most one frame in this time."""
_MAX_MENTIONING: Final = 10_000
"""The number of recent messages whose mentions are compared with those after an edit."""

log = structlog.get_logger()


class UnreadListener(Protocol):
    """A connection of a citizen."""

    def unread(self, frame: bytes) -> None:
        """Send a frame to the client. Return at once and never raise."""


class UnreadStreamFrames(Protocol):
    """Encodes unread counts as frames."""

    def unread_snapshot(self, rooms: Iterable[RoomUnread]) -> bytes: ...
    def unread(self, rooms: Sequence[RoomUnread], last: Mapping[RoomId, Message | None]) -> bytes: ...


class UnreadStream:
    """Sends unread counts to listeners; without listeners it does nothing."""

    def __init__(
        self,
        database: Database,
        identities: Identities,
        readers: ReaderMemberships,
        frames: UnreadStreamFrames,
        *,
        tick_s: float = TICK_S,
    ) -> None:
        self._database = database
        self._identities = identities
        self._members = readers
        self._frames = frames
        self._tick_s = tick_s
        self._readers: dict[SubjectId, UnreadReader] = {}
        """The unread counts of the connected citizens, by subject."""
        self._by_subject: dict[SubjectId, UnreadReader] = {}
        self._by_room: defaultdict[RoomId, set[UnreadReader]] = defaultdict(set)
        self._listeners: defaultdict[SubjectId, set[UnreadListener]] = defaultdict(set)
        self._citizens: dict[UnreadListener, SubjectId] = {}
        self._new: set[UnreadListener] = set()
        """Listeners that have no snapshot yet."""
        self._touched: set[UnreadReader] = set()
        self._last: dict[RoomId, Message | None] = {}
        """The newest message of each room in which it changed since the last tick."""
        self._last_unknown: set[RoomId] = set()
        self._counting: UnreadReader | None = None
        self._mentioning: OrderedDict[MessageId, frozenset[SubjectId]] = OrderedDict()
        self._visibilities: dict[RoomId, tuple[HistoryVisibility, bool]] = {}
        self._urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- listeners --------------------------------------------------------------------------------------------

    def listen(self, listener: UnreadListener, citizen: Author) -> None:
        """Send a citizen's snapshot to a listener, then the changes."""
        subject = citizen.subject
        if subject not in self._readers:
            self._add_reader(citizen)
        self._listeners[subject].add(listener)
        self._citizens[listener] = subject
        self._new.add(listener)
        self._touch(self._readers[subject])
        self._urgent.set()

    def unlisten(self, listener: UnreadListener) -> None:
        """Stop sending to a listener. Idempotent."""
        subject = self._citizens.pop(listener, None)
        if subject is None:
            return
        self._new.discard(listener)
        self._listeners[subject].discard(listener)
        if not self._listeners[subject]:
            del self._listeners[subject]
            self._remove_reader(self._readers[subject])

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _add_reader(self, citizen: Author) -> None:
        reader = UnreadReader(citizen, self._identities.accounts.subjects_of(citizen.subject))
        self._readers[citizen.subject] = reader
        self._by_subject |= dict.fromkeys(reader.subjects, reader)

    def _remove_reader(self, reader: UnreadReader) -> None:
        del self._readers[reader.citizen.subject]
        for subject in reader.subjects:
            self._by_subject.pop(subject, None)
        for room in reader.rooms:
            self._by_room[room].discard(reader)
        self._touched.discard(reader)

    # --- events -----------------------------------------------------------------------------------------------

    def on_message_posted(self, posted: MessagePosted) -> None:
        message, mentioned = posted.message, posted.mentioned
        if not self._readers:
            return
        self._remember(message.id, mentioned - {message.author.subject})
        readers = self._readers_of(message.room_id)
        readers |= {self._by_subject[each] for each in mentioned if each in self._by_subject}
        if readers and message.thread_root is None and message.thread_root_event is None:
            newest = self._last.get(message.room_id)
            if newest is None or newest.seq < message.seq:
                self._last[message.room_id] = message
        if self._by_subject.get(message.author.subject) not in {None, *readers}:
            self._read(message.author.subject, message.room_id, message.seq, message.thread_root)
        for reader in readers:
            reader.add_message(message, mentioned)
            self._touch(reader)

    def on_room_event(self, stored: RoomEventStored) -> None:
        event = stored.event
        if event.message is not None and event.kind is RoomEventKind.UPDATED and self._readers:
            # An edit may mention citizens who have never opened the room.
            self._compare_mentions(event.message)
        readers = self._readers_of(event.room_id)
        if not readers:
            return
        if event.kind is RoomEventKind.RESYNC:
            self._make_stale(event.room_id, readers)
        elif event.message is not None and event.kind in {RoomEventKind.DELETED, RoomEventKind.UPDATED}:
            if event.visibility is not HistoryVisibility.WORLD_READABLE:
                self._last_unknown.add(event.room_id)
                for reader in readers:
                    self._touch(reader)
            if event.kind is RoomEventKind.DELETED:
                for reader in readers:
                    reader.remove_message(event.message, event.seq)
                    self._touch(reader)

    def on_local_read(self, event: LocalUserRead) -> None:
        self._read(event.author.subject, event.room_id, event.seq, event.thread_root)

    def on_receipts_changed(self, change: ReceiptsChanged) -> None:
        for named in change.receipts:
            key = named.receipt.key
            self._read(key.reader, key.room, named.receipt.position.seq, key.thread_root)

    def on_membership_changed(self, change: MembershipChanged) -> None:
        reader = self._by_subject.get(change.subject)
        if reader is None:
            return
        if not change.joined:
            reader.leave(change.room_id)
        self._make_stale(change.room_id, [reader])

    def on_chat_readers_changed(self, change: ChatReadersChanged) -> None:
        """Count a direct chat again for those who read it before or read it now: nobody does until then."""
        readers = {self._by_subject[each] for each in change.readers if each in self._by_subject}
        for reader in readers | self._readers_of(change.room_id):
            reader.leave(change.room_id)
            self._touch(reader)

    def on_mode_changed(self, change: NotificationModeChanged) -> None:
        if reader := self._by_subject.get(SubjectId(change.citizen)):
            self._make_stale(change.room_id, [reader])

    def on_room_changed(self, change: RoomChanged) -> None:
        room = change.room
        if room.is_direct:  # A direct chat stays private: only memberships change who reads it.
            return
        visibility = (room.history_visibility, room.archived)
        if self._readers and self._visibilities.get(room.id) != visibility:
            if room.id in self._visibilities or room.archived or not is_readable_by_all(room):
                self._make_stale(room.id, self._readers.values())
            self._visibilities[room.id] = visibility

    def on_room_removed(self, change: RoomRemoved) -> None:
        self._make_stale(change.room_id, self._readers_of(change.room_id))

    def on_canonical_subject_changed(self, change: CanonicalSubjectChanged) -> None:
        """Count all rooms of a citizen who was linked or unlinked."""
        before = self._readers.get(change.citizen)
        if before is None:
            return
        self._remove_reader(before)
        self._add_reader(before.citizen)
        self._touch(self._readers[change.citizen])
        self._new |= self._listeners[change.citizen]

    def on_bus_events_lost(self) -> None:
        """Count everything again: events of other processes are lost."""
        for subject, reader in self._readers.items():
            reader.is_all_stale = True
            self._new |= self._listeners[subject]
            self._touch(reader)

    def _read(self, subject: SubjectId, room: RoomId, seq: int, thread_root: MessageId | None) -> None:
        if reader := self._by_subject.get(subject):
            reader.read(room, seq, thread_root)
            self._by_room[room].add(reader)
            self._touch(reader)

    def _readers_of(self, room: RoomId) -> set[UnreadReader]:
        """Return the readers of a room, with the one whose rooms are counted: it may turn out to be one."""
        readers = set(self._by_room.get(room, ()))
        return readers if self._counting is None else readers | {self._counting}

    def _make_stale(self, room: RoomId, readers: Iterable[UnreadReader]) -> None:
        for reader in readers:
            reader.stale.add(room)
            self._touch(reader)

    def _remember(self, message: MessageId, mentioned: frozenset[SubjectId]) -> None:
        self._mentioning[message] = mentioned
        if len(self._mentioning) > _MAX_MENTIONING:
            self._mentioning.popitem(last=False)

    def _compare_mentions(self, message: Message) -> None:
        """Count the room again for those whom an edit mentions, or no longer mentions."""
        now = mentioned_people(message, None)
        before = self._mentioning.get(message.id, frozenset())
        changed = now - before if message.reply_to is not None else now ^ before
        if not changed:
            return
        self._remember(message.id, now | (before if message.reply_to is not None else frozenset()))
        self._make_stale(message.room_id, [self._by_subject[each] for each in changed if each in self._by_subject])
        if ROOM_MENTION in changed:
            self._make_stale(message.room_id, self._readers_of(message.room_id))

    # --- sending ----------------------------------------------------------------------------------------------

    def _touch(self, reader: UnreadReader) -> None:
        self._touched.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send_changes())

    async def _send_changes(self) -> None:
        while self._touched:
            await self._pause()
            touched, self._touched = self._touched, set()
            try:
                for reader in touched:
                    if reader.is_stale:
                        await self._count(reader)
                last = await self._take_last()
            except DatabaseError as error:
                log.debug("unread_counts_delayed", error=str(error))
                self._touched |= touched & set(self._readers.values())
                continue
            for reader in touched:
                self._send(reader, last)

    async def _pause(self) -> None:
        """Wait for the end of the tick, or for a new listener."""
        try:
            async with asyncio.timeout(self._tick_s):
                await self._urgent.wait()
        except TimeoutError:
            pass
        self._urgent.clear()

    async def _count(self, reader: UnreadReader) -> None:
        among = reader.begin_count()
        self._counting = reader
        try:
            async with self._database.read_only() as tx:
                counted = await count_unread(
                    tx, self._members, reader.citizen, among=among, floors=reader.floors(among)
                )
        except BaseException:
            reader.abort_count(among)
            raise
        finally:
            self._counting = None
        before = set(reader.rooms)
        reader.end_count(among, counted)
        if self._readers.get(reader.citizen.subject) is reader:
            for room in before - reader.rooms.keys():
                self._by_room[room].discard(reader)
            for room in reader.rooms:
                self._by_room[room].add(reader)
            if reader.is_stale:
                self._touched.add(reader)

    async def _take_last(self) -> dict[RoomId, Message | None]:
        """Return the newest messages that changed, and read those that are not known."""
        unknown, self._last_unknown = self._last_unknown, set()
        last, self._last = self._last, {}
        if unknown:
            try:
                async with self._database.read_only() as tx:
                    found = await tx.last_messages.of_any_visibility(unknown)
            except DatabaseError:
                self._last_unknown |= unknown | last.keys()
                raise
            last |= {room: found.get(room) for room in unknown}
        return last

    def _send(self, reader: UnreadReader, last: Mapping[RoomId, Message | None]) -> None:
        subject = reader.citizen.subject
        if self._readers.get(subject) is not reader or reader.is_all_stale:
            return
        changed = reader.take_changes(last)
        new = self._listeners[subject] & self._new
        self._new -= new
        if new:
            frame = self._frames.unread_snapshot(reader.rooms.values())
            notify_all("UnreadSnapshot", (listener.unread for listener in new), frame)
        if changed and (known := self._listeners[subject] - new):
            among = {unread.room for unread in changed}
            shown = {
                room: message if message is not None and reader.may_read(message) else None
                for room, message in last.items()
                if room in among
            }
            notify_all("UnreadChange", (listener.unread for listener in known), self._frames.unread(changed, shown))
