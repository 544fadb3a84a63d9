"""Where messages stand in a room of the city, given the order of the homeserver's stream. Decides, and asks nobody.

Messages from Matrix stand in the order of the stream, as far as it is known; what only transactions brought stands behind them,
in the order in which it came. Transactions alone do not tell the order: Synapse may send an old one after newer ones, when its
appservice worker has ended in between.

    earlier looks' messages ──── a look's, in the order of the stream ──── what came by transaction since

Messages of the city have their place before Matrix has them, and keep it; so they may stand elsewhere than in the stream, and
never say where a message from Matrix is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..city.types import MessageId

Place = tuple[int, MessageId]
"""Number and id of a message."""

_Key = tuple[float, int, int]
"""Sorts messages as they stand once all moves are made."""


@dataclass(frozen=True, slots=True)
class Around:
    """The room's messages from Matrix that are not part of a stretch of history."""

    last_before: int | None = None
    """Number of the last one that is earlier than the stretch."""
    after: Sequence[Place] = ()
    """Those that are later than it, by number."""


@dataclass(frozen=True, slots=True)
class Move:
    message: MessageId
    before: MessageId | None
    """The message that it belongs before; None for the end of the room."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the city's messages belong that are part of a stretch, and where new ones do."""

    moves: list[Move]
    befores: list[MessageId | None]
    """For each event of the stretch the message that it stands before, if it is new to the city."""


@dataclass(slots=True)
class _Moved:
    moves: list[Move] = field(default_factory=list)
    keys: dict[MessageId, _Key] = field(default_factory=dict)


def find_places(
    events: Sequence[str],
    places: Mapping[str, Place],
    own: Collection[str],
    around: Around,
    *,
    in_stream_order_from: int,
) -> Places:
    """Where a stretch's messages belong, oldest event first.

    ``places`` has those of the events that are messages in the city, and ``own`` those events that the city sent. Events
    before the index ``in_stream_order_from`` are in topological order: nothing is moved because of it.
    """
    theirs = [places[each] for each in events[in_stream_order_from:] if each in places and each not in own]
    moved = _put_in_order([*theirs, *around.after], around.last_before)
    keyed = {each: (moved.keys.get(place[1], _key(place)), place[1]) for each, place in places.items()}
    after = [(moved.keys.get(place[1], _key(place)), place[1]) for place in around.after]
    floor = None if around.last_before is None else (float(around.last_before), 1, 0)
    return Places(moved.moves, _befores(events, keyed, own, floor, after))


def _key(place: Place) -> _Key:
    return float(place[0]), 1, 0


def _put_in_order(wanted: Sequence[Place], last_before: int | None) -> _Moved:
    """As few moves as bring these into this order."""
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
    """Indexes of a longest ascending subsequence of the numbers above ``above``."""
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


def _befores(
    events: Sequence[str],
    places: Mapping[str, tuple[_Key, MessageId]],
    own: Collection[str],
    highest: _Key | None,
    after: Sequence[tuple[_Key, MessageId]],
) -> list[MessageId | None]:
    """A message of the city counts only where that contradicts no message from Matrix."""
    lowest: list[_Key | None] = []
    for event in events:
        lowest.append(highest)
        if event in places and event not in own:
            key = places[event][0]
            highest = key if highest is None else max(highest, key)
    later = sorted(after)
    befores: list[MessageId | None] = []
    for event, low in zip(reversed(events), reversed(lowest), strict=True):
        index = 0 if low is None else bisect_right(later, low, key=lambda place: place[0])
        befores.append(later[index][1] if index < len(later) else None)
        if event in places:
            insort(later, places[event])
    return befores[::-1]
