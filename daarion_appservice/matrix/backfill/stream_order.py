"""The order of a room's messages, computed from the order of the homeserver's stream. Pure functions without I/O.

Messages of Matrix users are in stream order as far as ``/sync`` has returned the stream. Behind them are the messages
that only transactions have delivered, in order of arrival. Transactions alone do not give the order: Synapse may send
an old transaction after newer ones when its appservice worker was restarted in between.

    messages of earlier sweeps ──── of this sweep, in stream order ──── of transactions since

Messages of citizens and agents get their final sequence number before the homeserver has them. Their position may
differ from the stream, so it does not constrain that of Matrix users' messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ...city.types import MessageId

Place = tuple[int, MessageId]
"""Sequence number and id of a message."""

_Key = tuple[float, int, int]
"""The sort key of a message in the order that all moves result in."""


@dataclass(frozen=True, slots=True)
class PositionNeighbours:
    """The messages of Matrix users in the room that are not part of a range of history."""

    last_before: int | None = None
    """Sequence number of the last message before the range."""
    late_before: float | None = None
    """Sequence number of the message before which the last unhandled event of an earlier sweep will be inserted;
    infinity for the end of the room."""
    after: Mapping[str, Place] = field(default_factory=dict)
    """The messages after the range, by event id, in order of their sequence numbers."""


@dataclass(frozen=True, slots=True)
class Move:
    """A message that gets another place in its room's order."""

    message: MessageId
    before: MessageId | None
    """The message that follows after the move; None for the end of the room."""


@dataclass(frozen=True, slots=True)
class StreamPositions:
    """The order of a range's messages."""

    moves: list[Move]
    """The moves of stored messages that are out of order."""
    next_kept: list[MessageId | None]
    """For each event of the range, the message to insert it before if the city does not have it; None for the end."""


@dataclass(slots=True)
class _Moved:
    moves: list[Move] = field(default_factory=list)
    keys: dict[MessageId, _Key] = field(default_factory=dict)


def find_positions(
    events: Sequence[str],
    places: Mapping[str, Place],
    own: Collection[str],
    neighbours: PositionNeighbours,
    *,
    senders: Sequence[str],
    in_stream_order_from: int,
) -> StreamPositions:
    """Compute moves and insert positions for a range of history.

    Args:
        events: the ids of the range's events, oldest first.
        places: sequence number and id of the events that are stored messages, by event id.
        own: the ids of the events that the city sent.
        around: the other messages of Matrix users in the room.
        senders: the user ids that sent the events, in the same order as ``events``.
        in_stream_order_from: events before this index are in topological order, which moves no message.

    Returns:
        The moves, and a position for each event.
    """
    theirs = [places[each] for each in events[in_stream_order_from:] if each in places and each not in own]
    moved = _put_in_order([*theirs, *neighbours.after.values()], neighbours.last_before)
    keyed = {each: (moved.keys.get(place[1], _key(place)), place[1]) for each, place in places.items()}
    after = [(moved.keys.get(place[1], _key(place)), place[1]) for place in neighbours.after.values()]
    floor = None if neighbours.last_before is None else (float(neighbours.last_before), 1, 0)
    if neighbours.late_before is not None:
        late_events = (neighbours.late_before, 0, 0)
        # Not behind a message of the range: a move may have changed the position that the late event waits for.
        if all(late_events < keyed[each][0] for each in events if each in keyed and each not in own):
            floor = max(floor or late_events, late_events)
    return StreamPositions(moved.moves, _next_kept(events, senders, keyed, own, floor, after))


def _key(place: Place) -> _Key:
    return float(place[0]), 1, 0


def _put_in_order(wanted: Sequence[Place], last_before: int | None) -> _Moved:
    """Return the fewest moves that put the messages into this order, all of them behind ``last_before``."""
    staying = _longest_ascending([place[0] for place in wanted], last_before)
    moved = _Moved()
    for index, (_, message) in enumerate(wanted):
        if index in staying:
            continue
        anchor = next((wanted[each] for each in range(index + 1, len(wanted)) if each in staying), None)
        moved.moves.append(Move(message, anchor and anchor[1]))
        moved.keys[message] = (float("inf") if anchor is None else anchor[0], 0, index)
    return moved


def _longest_ascending(numbers: Sequence[int], above: int | None) -> set[int]:
    """Return the indexes of a longest ascending subsequence of the numbers above ``above`` (patience sorting)."""
    tails: list[int] = []
    ends: list[int] = []
    previous: dict[int, int | None] = {}
    for index, number in enumerate(numbers):
        if above is not None and number <= above:
            continue
        at = bisect_left(tails, number)
        previous[index] = ends[at - 1] if at else None
        tails[at : at + 1], ends[at : at + 1] = [number], [index]
    found: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        found.add(last)
        last = previous[last]
    return found


def _next_kept(
    events: Sequence[str],
    senders: Sequence[str],
    places: Mapping[str, tuple[_Key, MessageId]],
    own: Collection[str],
    highest: _Key | None,
    after: Sequence[tuple[_Key, MessageId]],
) -> list[MessageId | None]:
    """Return for each event the next message behind it; an ``own`` one only if no Matrix user's message contradicts it.

    Topological order and the order of the transactions contradict each other if two homeservers sent events while the
    link between them was cut. Then the order of one sender's messages decides, because both orders agree on it.
    """
    lowest: list[_Key | None] = []
    for event in events:
        lowest.append(highest)
        if event in places and event not in own:
            key = places[event][0]
            highest = key if highest is None else max(highest, key)
    later = sorted(after)
    next_kept: list[MessageId | None] = []
    next_of: dict[str, tuple[_Key, MessageId]] = {}
    for event, sender, low in zip(reversed(events), reversed(senders), reversed(lowest), strict=True):
        index = 0 if low is None else bisect_right(later, low, key=lambda place: place[0])
        before = later[index] if index < len(later) else None
        if (of_sender := next_of.get(sender)) and (before is None or of_sender < before):
            before = of_sender
        next_kept.append(before[1] if before is not None else None)
        if event in places:
            insort(later, places[event])
            if event not in own:
                next_of[sender] = min(places[event], next_of.get(sender, places[event]))
    return next_kept[::-1]
