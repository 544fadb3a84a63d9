"""Who may read what was said in a room: history visibility, times membership at that time, times what the city made public.

Each message and each event of a room's history has the ``m.room.history_visibility`` that held when it was sent. A reader's
memberships of the room are periods of its ``seq`` numbers. Both together decide (client-server API, "Room History Visibility"):

    world_readable   everybody
    shared           members, of whatever time; who left reads up to when they left
    invited          whoever was a member at that time, or invited
    joined           whoever was a member at that time

Every reader asks this module: lists, pages of history, sockets, feed, media, and what agents are told. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from .types import HistoryVisibility, Message, Room, RoomEvent

OLDEST: Final = -(1 << 62)
"""Before every ``seq``; history that is brought in later has numbers below 1."""

CLOSED: Final = frozenset({HistoryVisibility.INVITED, HistoryVisibility.JOINED})
"""What is said under these is not for those who come in later."""

OPEN_RULES: Final = ("public", "knock", "knock_restricted")
"""Join rules under which people outside may know of a room: they can come in, or ask to."""


@dataclass(frozen=True, slots=True)
class MembershipPeriod:
    """One stay of one user in a room, in ``seq`` numbers of that room; both ends are part of it."""

    start_seq: int
    """The invitation, or the join if there was none."""
    joined_seq: int | None
    """None while, or if, the user was only invited."""
    end_seq: int | None = None
    """None while it lasts."""


Range = tuple[int, int | None]
"""From and to, both included; None for no end."""


@dataclass(frozen=True, slots=True)
class ReadableRanges:
    """What one reader may read in one room, as ranges of ``seq`` for each visibility. Hashable: equal readers see the same."""

    shared: tuple[Range, ...] = ()
    invited: tuple[Range, ...] = ()
    joined: tuple[Range, ...] = ()

    @property
    def is_member(self) -> bool:
        """Whether the reader is in the room now."""
        return any(end is None for _, end in self.joined)

    @property
    def is_empty(self) -> bool:
        """Whether the reader never was in the room, nor invited."""
        return not self.invited

    def ranges(self, visibility: HistoryVisibility) -> tuple[Range, ...]:
        """The ranges in which events of this visibility may be read."""
        match visibility:
            case HistoryVisibility.WORLD_READABLE:
                return ((OLDEST, None),)
            case HistoryVisibility.SHARED:
                return self.shared
            case HistoryVisibility.INVITED:
                return self.invited
        return self.joined

    def may_read(self, visibility: HistoryVisibility, seq: int) -> bool:
        """Whether an event of this visibility with this number may be read."""
        return any(start <= seq and (end is None or seq <= end) for start, end in self.ranges(visibility))

    def may_read_message(self, message: Message) -> bool:
        """Whether a message may be read as it stands: both when it was written and when it was last edited."""
        return self.may_read(message.visibility, message.seq) and (
            message.edit_seq is None or self.may_read(message.edit_visibility, message.edit_seq)
        )

    def may_read_event(self, event: RoomEvent) -> bool:
        """Whether an event of the room's history may be read, with the message that it carries."""
        return self.may_read(event.visibility, event.seq) and (
            event.message is None or self.may_read_message(event.message)
        )

    def with_join(self, seq: int) -> ReadableRanges:
        """The same reader, who joined with the event ``seq``."""
        return self if self.is_member else self._with(MembershipPeriod(seq, seq))

    def with_leave(self, seq: int) -> ReadableRanges:
        """The same reader, who left with the event ``seq``."""
        return ReadableRanges(*(_ended(ranges, seq) for ranges in (self.shared, self.invited, self.joined)))

    def renumbered(self, first: int, by: int) -> ReadableRanges:
        """The same reader, after all numbers from ``first`` on were raised by ``by``."""

        def raised(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
            return tuple(
                (start + by if start >= first else start, end + by if end is not None and end >= first else end)
                for start, end in ranges
            )

        return ReadableRanges(raised(self.shared), raised(self.invited), raised(self.joined))

    def _with(self, period: MembershipPeriod) -> ReadableRanges:
        more = readable_ranges([period])
        return ReadableRanges(self.shared + more.shared, self.invited + more.invited, self.joined + more.joined)


def _ended(ranges: tuple[Range, ...], seq: int) -> tuple[Range, ...]:
    return tuple((start, seq if end is None else end) for start, end in ranges)


PUBLIC: Final = ReadableRanges()
"""What everybody may read."""


def readable_ranges(periods: Iterable[MembershipPeriod]) -> ReadableRanges:
    """What somebody may read who was in the room, or invited, in these periods."""
    periods = tuple(periods)
    joins = tuple((period.joined_seq, period.end_seq) for period in periods if period.joined_seq is not None)
    ends = [end for _, end in joins]
    until = None if None in ends else max((end for end in ends if end is not None), default=None)
    return ReadableRanges(
        shared=((OLDEST, until),) if joins else (),
        invited=tuple((period.start_seq, period.end_seq) for period in periods),
        joined=joins,
    )


def is_readable_by_all(room: Room) -> bool:
    """Whether everybody may read what is said in the room now."""
    return room.history_visibility is HistoryVisibility.WORLD_READABLE


def is_listed(room: Room) -> bool:
    """Whether the room, its name and what it is about are for everybody: people may come in, or read it from outside."""
    return room.join_rule in OPEN_RULES or is_readable_by_all(room)


def is_known_to(room: Room, reading: ReadableRanges) -> bool:
    """Whether a reader may know that the room exists. What was public once is known; its present name need not be."""
    return is_listed(room) or room.was_public or not reading.is_empty


def may_see_room(room: Room, reading: ReadableRanges) -> bool:
    """Whether a reader may know the room's present name and description."""
    return is_listed(room) or not reading.is_empty


def may_look_on(room: Room, reading: ReadableRanges) -> bool:
    """Whether a reader may follow what is said in the room from now on."""
    return is_readable_by_all(room) or reading.is_member


def as_seen(message: Message, room: Room, reading: ReadableRanges) -> Message:
    """A message that may be read, as this reader sees it.

    Its reactions are counted up to now: they are for those who may follow the room now, whenever the message was written.
    """
    return message if may_look_on(room, reading) else replace(message, reactions=())


def history_visibility(value: object) -> HistoryVisibility:
    """Read the value of ``m.room.history_visibility``. One that is missing or unknown means ``shared``, as the spec says."""
    try:
        return HistoryVisibility(value)  # type: ignore[arg-type]
    except ValueError:
        return HistoryVisibility.SHARED


def may_be_repeated(message: Message, now: HistoryVisibility, newest_join_seq: int) -> bool:
    """Whether a message may be repeated in its room, to all who may read what is said there now.

    ``now`` is the room's present history visibility, and ``newest_join_seq`` when the last of the present members joined. An
    agent is told nothing else of a room's history: what it answers is read by all of them.
    """
    return _may_be_repeated(message.visibility, message.seq, now, newest_join_seq) and (
        message.edit_seq is None or _may_be_repeated(message.edit_visibility, message.edit_seq, now, newest_join_seq)
    )


def _may_be_repeated(then: HistoryVisibility, seq: int, now: HistoryVisibility, newest_join_seq: int) -> bool:
    match then:
        case HistoryVisibility.WORLD_READABLE:
            return True
        case HistoryVisibility.SHARED:
            return now is not HistoryVisibility.WORLD_READABLE
    return now in CLOSED and seq >= newest_join_seq
