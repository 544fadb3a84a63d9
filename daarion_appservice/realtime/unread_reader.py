"""The unread state of one connected citizen, kept up to date by events without a query for each.

An event that does not tell the new counts (a deletion of an old mention, a read mark in the middle) makes the room stale:
the unread stream then counts it again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ..city.history_visibility import PUBLIC, ReadableRanges
from ..city.types import Author, Message, MessageId, RoomId, SubjectId
from ..city.unread import MAX_COUNT, ROOM_MENTION, RoomMarks, RoomUnread
from .unread_counts import CitizenUnread

_MAX_WAITING: Final = 10_000
"""Messages that wait for the end of a count; with more, the citizen's rooms are counted again."""


class UnreadReader:
    """The rooms of one citizen.

    Args:
        subjects: the subjects of the citizen: with a linked account two.
    """

    def __init__(self, citizen: Author, subjects: Collection[SubjectId]) -> None:
        self.citizen = citizen
        self.subjects = frozenset(subjects)
        self.rooms: dict[RoomId, RoomUnread] = {}
        self.changed: set[RoomId] = set()
        """The rooms whose state was not sent yet."""
        self.sent: set[RoomId] = set()
        """The rooms that the listeners know: others that the citizen may not read must not be named to them."""
        self.stale: set[RoomId] = set()
        """The rooms that must be counted again."""
        self.is_all_stale = True
        self._readings: dict[RoomId, ReadableRanges] = {}
        self._newest: dict[RoomId, int] = {}
        """The number of the newest message of each room that arrived after the room was counted."""
        self._left: set[RoomId] = set()
        """The rooms that the citizen left since the last count began: its result has the time before."""
        self._waiting: list[tuple[Message, frozenset[SubjectId]]] | None = None
        """The messages that arrived while rooms are counted."""

    # --- counting ---------------------------------------------------------------------------------------------

    @property
    def is_stale(self) -> bool:
        return self.is_all_stale or bool(self.stale)

    def begin_count(self) -> set[RoomId] | None:
        """Return the rooms to count, None for all. Messages that arrive until `end_count` are added to the counts."""
        among = None if self.is_all_stale else set(self.stale)
        self.is_all_stale = False
        self.stale.clear()
        self._left.clear()
        self._waiting = []
        return among

    def floors(self, among: Collection[RoomId] | None) -> dict[RoomId, RoomMarks]:
        """Return the known read marks of these rooms, which may not be stored yet."""
        return {room: unread.marks for room, unread in self.rooms.items() if among is None or room in among}

    def end_count(self, among: set[RoomId] | None, counted: CitizenUnread) -> None:
        """Replace the state of the counted rooms."""
        before = set(self.rooms) if among is None else among
        # A room that became stale meanwhile may have a new read mark, which the next count needs.
        for room in before - counted.rooms.keys() - self.stale:
            self.rooms.pop(room, None)
        for room in before | counted.rooms.keys():
            self._newest.pop(room, None)
        for room, unread in counted.rooms.items():
            if room not in self._left:
                self._replace(room, unread)
        self._readings |= {room: ranges for room, ranges in counted.ranges_by_room.items() if room not in self._left}
        self.changed |= before | counted.rooms.keys()
        waiting, self._waiting = self._waiting or [], None
        for message, mentioned in waiting:
            self._apply(message, mentioned)

    def abort_count(self, among: set[RoomId] | None) -> None:
        """Make the rooms stale again, after a count that failed."""
        self._waiting = None
        if among is None:
            self.is_all_stale = True
        else:
            self.stale |= among

    def take_changes(self, last: Collection[RoomId]) -> list[RoomUnread]:
        """Return the state of the rooms that changed since the last call; the initial state of rooms that are gone.

        Args:
            last: the rooms whose newest message changed.
        """
        changed = (self.changed & (self.rooms.keys() | self.sent)) | (self.rooms.keys() & set(last))
        self.changed, self.sent = set(), set(self.rooms)
        return [self.rooms.get(room, RoomUnread(room)) for room in changed]

    # --- events -----------------------------------------------------------------------------------------------

    def add_message(self, message: Message, mentioned: frozenset[SubjectId]) -> None:
        """Count a new message."""
        if self._waiting is not None:
            self._waiting.append((message, mentioned))
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.clear()
                self.is_all_stale = True
        self._apply(message, mentioned)

    def remove_message(self, message: Message, event_seq: int) -> None:
        """Stop counting a message that was deleted with the event ``event_seq``."""
        if self._waiting is not None:
            self.stale.add(message.room_id)
        room = self.rooms.get(message.room_id)
        if room is None or event_seq <= room.counted_seq or self._is_read(room, message):
            return
        if room.mentions or room.unread >= MAX_COUNT:
            self.stale.add(room.room)
        elif room.unread and _is_of_main_timeline(message):
            self._put(replace(room, unread=room.unread - 1))

    def read(self, room_id: RoomId, seq: int, thread_root: MessageId | None) -> None:
        """Move a read mark forward."""
        room = self.rooms.get(room_id, RoomUnread(room_id))
        if room.marks.is_read(seq, thread_root) and room_id in self.rooms:
            return
        if thread_root is not None:
            marks = replace(room.marks, threads={**room.marks.threads, thread_root: seq})
        else:
            marks = replace(room.marks, main=seq)
        is_end = thread_root is None and seq >= self._newest.get(room_id, seq + 1)
        if is_end:
            room = replace(room, unread=0, mentions=0)
        elif room_id not in self.rooms or room.mentions or (room.unread and thread_root is None):
            self.stale.add(room_id)
        self._put(replace(room, marks=marks))

    def leave(self, room: RoomId) -> None:
        """Forget a room that the citizen left; it is counted again, as it may be public."""
        self.rooms.pop(room, None)
        self._readings.pop(room, None)
        self.stale.add(room)
        self._left.add(room)

    def may_read(self, message: Message) -> bool:
        """Return whether the citizen may read a message of a room that it reads now."""
        return self._readings.get(message.room_id, PUBLIC).may_read_message(message)

    def _replace(self, room: RoomId, counted: RoomUnread) -> None:
        """Replace the state of a room; a read mark that moved during the count makes it stale again."""
        before = self.rooms.get(room)
        marks = counted.marks if before is None else counted.marks.latest(before.marks)
        if marks != counted.marks:
            self.stale.add(room)
        self.rooms[room] = replace(counted, marks=marks)

    def _apply(self, message: Message, mentioned: frozenset[SubjectId]) -> None:
        room = self.rooms.get(message.room_id)
        if room is None:
            if mentioned & self.subjects:
                self.stale.add(message.room_id)
            return
        if message.seq <= room.counted_seq:
            return
        self._newest[room.room] = max(message.seq, self._newest.get(room.room, message.seq))
        self.changed.add(room.room)
        if message.author.subject in self.subjects:
            self.read(room.room, message.seq, message.thread_root)
        elif not self._is_read(room, message):
            is_unread = room.marks.main is not None and _is_of_main_timeline(message)
            is_mention = bool(mentioned & self.subjects) or (room.is_joined and ROOM_MENTION in mentioned)
            unread = min(room.unread + is_unread, MAX_COUNT)
            self._put(replace(room, unread=unread, mentions=min(room.mentions + is_mention, MAX_COUNT)))

    def _is_read(self, room: RoomUnread, message: Message) -> bool:
        return message.author.subject in self.subjects or room.marks.is_read(message.seq, message.thread_root)

    def _put(self, room: RoomUnread) -> None:
        self.rooms[room.room] = room
        self.changed.add(room.room)


def _is_of_main_timeline(message: Message) -> bool:
    return message.thread_root is None and message.thread_root_event is None
