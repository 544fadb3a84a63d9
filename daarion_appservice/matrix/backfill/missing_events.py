"""Which events of a stretch of history never came, and where they belong. Decides, and asks nobody.

    history    known   unknown   known        the unknown one stands before the next message that the city has
    history    known   unknown   unknown      they wait in this order, like new events, but before messages that
                                              transactions brought since (``late_places``)

An event that was found late is not handled when a later one like it was (a name, a membership, an edit of the same message):
it would undo what came after it. Edits, reactions and deletions that came while their message was unknown had no effect, and
are handled again after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...city.event_fields import SAID, Event, content_of, event_id_of, inner, sender_of, text, type_of
from ...city.types import EventId, UserId
from ...storage.inbox import InboxState, Known, ReceivedEvent
from ..client.inbox_events import inbox_event
from ..client.message_content import replaced
from .stream_order import Move, Place, PositionNeighbours, find_positions


@dataclass(frozen=True, slots=True)
class Plan:
    waiting: list[ReceivedEvent]
    """What is to be handled, in this order; what waits already is part of it."""
    settled: list[ReceivedEvent]
    """What is missing, but was overtaken."""
    again: list[str]
    """What is handled a second time, of ``waiting``."""
    missing: int
    """How many events never came."""
    moves: list[Move] = field(default_factory=list)
    """Moves of messages that are out of the order of the homeserver's stream."""
    is_state_misordered: bool = False
    """Whether an older state event was handled after a newer one of the same type and state key."""


def plan(
    events: Sequence[Event],
    known: Mapping[str, Known],
    places: Mapping[str, Place],
    is_ours: Callable[[UserId], bool],
    *,
    in_stream_order_from: int = 0,
    around: PositionNeighbours | None = None,
) -> Plan:
    """What to do about a stretch of one room's history, oldest first.

    ``places`` has number and id of those messages of the city that are among the events. Events before the index
    ``in_stream_order_from`` are in topological order: of those that came by transaction the order in which they came is kept.
    ``around`` holds the other messages of Matrix users in the room.
    """
    events = _in_stream_order(events, known, in_stream_order_from)
    own = {event_id_of(event) for event in events if is_ours(sender_of(event))}
    ids = [event_id_of(event) for event in events]
    senders = [sender_of(event) for event in events]
    found = find_positions(
        ids, places, own, around or PositionNeighbours(), senders=senders, in_stream_order_from=in_stream_order_from
    )
    overtaken = _overtaken(events, known)
    waiting: list[ReceivedEvent] = []
    settled: list[ReceivedEvent] = []
    again: list[str] = []
    missing = 0
    found_late: set[str] = set()
    for event, before in zip(events, found.befores, strict=True):
        event_id = event_id_of(event)
        state = known[event_id].state if event_id in known else None
        # A missing event has its position by this stretch; one that waits already may be from a transaction after it.
        row = replace(inbox_event(event), is_confirmed=True, is_swept=state is None)
        missing += state is None
        if state is None and event_id in overtaken:
            settled.append(row)
        elif state is None:
            found_late.add(event_id)
            waiting.append(replace(row, before_message=before))
        elif state is InboxState.NEW:
            waiting.append(replace(row, before_message=before))
        elif state is InboxState.DONE and _targets(event) & found_late:
            again.append(event_id)
            waiting.append(row)
    misordered = _is_state_misordered(events[in_stream_order_from:], known)
    return Plan(waiting, settled, again, missing, found.moves, misordered)


def after_oldest_known(events: Sequence[Event], known: Mapping[str, Known]) -> list[Event]:
    """Without what happened before anything that came: that was before our time."""
    first = next((index for index, event in enumerate(events) if event_id_of(event) in known), len(events))
    return list(events[first:])


def _in_stream_order(events: Sequence[Event], known: Mapping[str, Known], end: int) -> list[Event]:
    slots = [
        index
        for index, event in enumerate(events[:end])
        if (row := known.get(event_id_of(event))) and row.state is InboxState.NEW
    ]
    ordered = list(events)
    came = sorted((events[index] for index in slots), key=lambda event: known[event_id_of(event)].row_id)
    for index, event in zip(slots, came, strict=True):
        ordered[index] = event
    return ordered


def _overtaken(events: Sequence[Event], known: Mapping[str, Known]) -> set[str]:
    """Missing events whose effect a later one that was handled has replaced."""
    overtaken: set[str] = set()
    handled: set[tuple[str, ...]] = set()
    for event in reversed(events):
        effect, event_id = _effect(event), event_id_of(event)
        if effect is None:
            continue
        if event_id not in known and effect in handled:
            overtaken.add(event_id)
        elif event_id in known and known[event_id].state is InboxState.DONE:
            handled.add(effect)
    return overtaken


def _is_state_misordered(events: Sequence[Event], known: Mapping[str, Known]) -> bool:
    handled: dict[tuple[str, ...], int] = {}
    for event in events:
        effect, row = _effect(event), known.get(event_id_of(event))
        if effect is None or effect[0] != "state" or row is None or row.state is not InboxState.DONE:
            continue
        if row.row_id < handled.get(effect, 0):
            return True
        handled[effect] = row.row_id
    return False


def _effect(event: Event) -> tuple[str, ...] | None:
    """What an event sets, where the last one counts; None where each counts."""
    if isinstance(event.get("state_key"), str):
        return ("state", type_of(event), text(event, "state_key"))
    if type_of(event) in SAID and (original := replaced(content_of(event))):
        return ("edit", original, sender_of(event))
    return None


def _targets(event: Event) -> set[str]:
    """Which events an edit, a reaction or a deletion is about."""
    content = content_of(event)
    related: EventId | str | None = inner(content, "m.relates_to").get("event_id")
    redacted = text(content, "redacts") or text(event, "redacts")
    return {each for each in (related, redacted) if isinstance(each, str) and each}
