"""History visibility: who may read which messages and events of a room.

Each message and event of a room's history has the ``m.room.history_visibility`` that applied when it was sent. A
reader's memberships of the room are periods of its ``seq`` numbers. Both together decide (client-server API, "Room
History Visibility"):

    world_readable   everyone
    shared           members of any time; former members up to their last leave
    invited          users who were members or invited at that time
    joined           users who were members at that time

Lists, pages of history, WebSockets, feed, media and the agents' context all use this module. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from .room_events import RoomEvent
from .types import HistoryVisibility, Message, Room

OLDEST: Final = -(1 << 62)
"""Less than every ``seq``; history that is inserted later has numbers below 1."""

CLOSED: Final = frozenset({HistoryVisibility.INVITED, HistoryVisibility.JOINED})
"""The values under which users who join later may not read an event."""

OPEN_RULES: Final = ("public", "knock", "knock_restricted")
"""Join rules under which a room is listed: users can join it, or knock."""


@dataclass(frozen=True, slots=True)
class MembershipPeriod:
    """One user's membership of a room, from ``start_seq`` to ``end_seq`` of the room's history, both inclusive."""

    start_seq: int
    """The number of the invitation, or of the join if there was no invitation."""
    joined_seq: int | None
    """The number of the join; None for a user who only was invited."""
    end_seq: int | None = None
    """None for a membership that has not ended."""


Range = tuple[int, int | None]
"""First and last number, both inclusive; None for no end."""


@dataclass(frozen=True, slots=True)
class ReadableRanges:
    """What one reader may read in one room, as ranges of ``seq`` for each visibility.

    Equal values give the same view; hashable.
    """

    shared: tuple[Range, ...] = ()
    invited: tuple[Range, ...] = ()
    joined: tuple[Range, ...] = ()

    @property
    def is_member(self) -> bool:
        """Whether the reader is a member of the room now."""
        return any(end is None for _, end in self.joined)

    @property
    def is_current(self) -> bool:
        """Whether the reader is a member of the room or invited to it now."""
        return any(end is None for _, end in self.invited)

    @property
    def is_empty(self) -> bool:
        """Whether the reader never was a member of the room or invited to it."""
        return not self.invited

    def ranges(self, visibility: HistoryVisibility) -> tuple[Range, ...]:
        """Return the ranges in which the reader may read events of this visibility."""
        match visibility:
            case HistoryVisibility.WORLD_READABLE:
                return ((OLDEST, None),)
            case HistoryVisibility.SHARED:
                return self.shared
            case HistoryVisibility.INVITED:
                return self.invited
        return self.joined

    def may_read(self, visibility: HistoryVisibility, seq: int) -> bool:
        """Return whether the reader may read an event with this visibility and number."""
        return any(start <= seq and (end is None or seq <= end) for start, end in self.ranges(visibility))

    def may_read_message(self, message: Message) -> bool:
        """Return whether the reader may read a message as it is now: both at its first version and at its newest edit."""
        return self.may_read(message.visibility, message.seq) and (
            message.edit_seq is None or self.may_read(message.edit_visibility, message.edit_seq)
        )

    def may_read_event(self, event: RoomEvent) -> bool:
        """Return whether the reader may read an event of the room's history and the message that it carries."""
        return self.may_read(event.visibility, event.seq) and (
            event.message is None or self.may_read_message(event.message)
        )

    def with_join(self, seq: int) -> ReadableRanges:
        """Return the ranges after the reader joined with the event ``seq``."""
        return self if self.is_member else self._with(MembershipPeriod(seq, seq))

    def with_leave(self, seq: int) -> ReadableRanges:
        """Return the ranges after the reader left with the event ``seq``."""
        return ReadableRanges(*(_ended(ranges, seq) for ranges in (self.shared, self.invited, self.joined)))

    def renumbered(self, first: int, by: int) -> ReadableRanges:
        """Return the ranges after every number from ``first`` on was increased by ``by``."""

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
"""What a reader may read who never was a member: world-readable events."""


EVERYTHING: Final = ReadableRanges(*3 * (((OLDEST, None),),))
"""The ranges of a whole history: for messages whose readers are checked later."""


def readable_ranges(periods: Iterable[MembershipPeriod]) -> ReadableRanges:
    """Return the ranges for a reader with these periods of membership."""
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
    """Return whether new messages of the room are world-readable, which a chat with an agent never is in the pages."""
    return room.agent is None and room.history_visibility is HistoryVisibility.WORLD_READABLE


def is_listed(room: Room) -> bool:
    """Return whether the room, its name and description are public: users can join, knock, or read it without membership."""
    return room.agent is None and (room.join_rule in OPEN_RULES or is_readable_by_all(room))


def is_known_to(room: Room, readable: ReadableRanges, *, is_admin: bool = False) -> bool:
    """Return whether a reader may know that the room exists.

    A room that once was public remains known, but not its present name. An admin of the city knows of all rooms, and of
    no chats with agents.
    """
    if room.agent is not None:
        return not readable.is_empty
    return is_admin or is_listed(room) or room.was_public or not readable.is_empty


def may_see_room(room: Room, readable: ReadableRanges) -> bool:
    """Return whether a reader may know the room's present name, description and picture.

    Former members may not, unless the room is listed: these may be newer than their leave.
    """
    return is_listed(room) or readable.is_current


def may_see_activity(room: Room, readable: ReadableRanges) -> bool:
    """Return whether a reader may know when something last happened in the room, how much, and how many members are online."""
    return is_listed(room) or readable.is_member


def are_all_of_member(ranges: Iterable[ReadableRanges]) -> bool:
    """Return whether a reader is a member of every room that these are the ranges of: no order of rooms hides activity."""
    return all(each.is_member for each in ranges)


def room_as_seen(room: Room, readable: ReadableRanges, *, is_admin: bool = False) -> Room:
    """Return a room as this reader sees it.

    Without its activity for a reader who is no member; and under its slug, without name, description and picture, for a
    reader who may see only its past. An admin of the city sees all of it.
    """
    if is_admin or may_see_activity(room, readable):
        return room
    seen = replace(room, last_event_ms=None, last_seq=0, matrix_error=None, pinned_events=None)
    if may_see_room(room, readable):
        return seen
    return replace(seen, name=room.slug, description="", avatar_url=None)


def may_subscribe(room: Room, readable: ReadableRanges) -> bool:
    """Return whether a reader may read new messages of the room."""
    return is_readable_by_all(room) or readable.is_member


def as_seen(message: Message, room: Room, readable: ReadableRanges) -> Message:
    """Return a readable message as this reader sees it.

    Reactions, votes and replies of a thread count up to now, whenever the message was written: only readers of the room's
    new messages see them.
    """
    if may_subscribe(room, readable):
        return message
    return replace(message, reactions=(), thread=None, poll_results=None)


def history_visibility(value: object) -> HistoryVisibility:
    """Read the value of ``m.room.history_visibility``.

    A missing or unknown value means ``shared`` (client-server API).
    """
    try:
        return HistoryVisibility(value)  # type: ignore[arg-type]
    except ValueError:
        return HistoryVisibility.SHARED


def may_be_repeated(message: Message, now: HistoryVisibility, newest_join_seq: int) -> bool:
    """Return whether an agent's reply may repeat a message in its room, where every present reader reads the reply.

    Only such messages are part of an agent's context.

    Args:
        now: The room's present history visibility.
        newest_join_seq: The number of the newest join among the present members.
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
