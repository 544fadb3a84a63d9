"""Finds the missing events of a range of history and their positions. Pure functions without I/O.

    range of history (oldest first)    effect
    known     unknown   known          the unknown event is inserted before the next message that the city has
    known     unknown   unknown        the unknown events wait in this order, like new ones, but before messages that
                                       transactions have delivered since (``stream_order``)

A late event is not handled when a later one with the same effect was (a name, a membership, an edit of the same
message): it would undo the later one. Edits, reactions and redactions that were handled while their message was missing
had no effect, and are handled again after the message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...city.event_fields import Event, content_of, event_id_of, inner, is_message_or_change, sender_of, text, type_of
from ...city.types import EventId, UserId
from ...storage.inbox import InboxState, ReceivedEvent, StoredEvent
from ..client.inbox_events import inbox_event
from ..client.message_content import replaced
from .stream_order import Move, Place, PositionNeighbours, find_positions


@dataclass(frozen=True, slots=True)
class InboxChanges:
    """What to do with the events of a range of history."""

    pending: list[ReceivedEvent]
    """The events to handle, in this order, including those that already wait in the inbox."""
    done: list[ReceivedEvent]
    """Missing events that are stored as done, because a later event has replaced their effect."""
    repeated: list[str]
    """The ids of those events in ``pending`` that are handled a second time."""
    missing: int
    """The number of events that are not in the inbox."""
    moves: list[Move] = field(default_factory=list)
    """Moves of messages that are out of stream order."""
    is_state_misordered: bool = False
    """Whether an older state event was handled after a newer one of the same type and state key."""


def plan_changes(
    events: Sequence[Event],
    known: Mapping[str, StoredEvent],
    places: Mapping[str, Place],
    is_ours: Callable[[UserId], bool],
    *,
    in_stream_order_from: int = 0,
    neighbours: PositionNeighbours | None = None,
) -> InboxChanges:
    """Plan the insertion of a range of one room's history into the inbox.

    Args:
        events: the events of the range, oldest first.
        known: the inbox state of those events that the inbox has, by event id.
        places: sequence number and id of those events that are stored messages, by event id.
        is_ours: whether a user id belongs to the application service.
        in_stream_order_from: events before this index are in topological order; those of them that transactions
            delivered stay in the order of their arrival.
        around: the other messages of Matrix users in the room.
    """
    events = _in_stream_order(events, known, in_stream_order_from)
    own = {event_id_of(event) for event in events if is_ours(sender_of(event))}
    ids = [event_id_of(event) for event in events]
    senders = [sender_of(event) for event in events]
    found = find_positions(
        ids, places, own, neighbours or PositionNeighbours(), senders=senders, in_stream_order_from=in_stream_order_from
    )
    overtaken = _overtaken(events, known)
    pending: list[ReceivedEvent] = []
    done: list[ReceivedEvent] = []
    repeated: list[str] = []
    missing = 0
    found_late: set[str] = set()
    for event, before in zip(events, found.next_kept, strict=True):
        event_id = event_id_of(event)
        state = known[event_id].state if event_id in known else None
        # This range gives a missing event its position; one that waits may be from a later transaction.
        row = replace(inbox_event(event), is_confirmed=True, is_swept=state is None)
        missing += state is None
        if state is None and event_id in overtaken:
            done.append(row)
        elif state is None:
            found_late.add(event_id)
            pending.append(replace(row, before_message=before))
        elif state is InboxState.NEW:
            pending.append(replace(row, before_message=before))
        elif state is InboxState.DONE and _targets(event) & found_late:
            repeated.append(event_id)
            pending.append(row)
    misordered = _is_state_misordered(events[in_stream_order_from:], known)
    return InboxChanges(pending, done, repeated, missing, found.moves, misordered)


def since_received(
    events: Sequence[Event], known: Mapping[str, StoredEvent], is_ours: Callable[[UserId], bool]
) -> list[Event]:
    """Return the events from those on that the homeserver delivers: earlier ones precede the city's time in the room.

    It delivers events since the first invitation or join of a user of the service. An earlier event may be known, as the city
    reads the messages of a room that it begins to use by an upgrade.

    Args:
        events: the first range of a room's history, oldest first.
        known: the inbox state of those events that the inbox has, by event id.
        is_ours: whether a user id belongs to the application service.
    """
    first_known = next((index for index, event in enumerate(events) if event_id_of(event) in known), len(events))
    own = (index for index, event in enumerate(events) if _is_membership_of(event, is_ours))
    return list(events[max(first_known, next(own, 0)) :])


def _is_membership_of(event: Event, is_ours: Callable[[UserId], bool]) -> bool:
    return type_of(event) == "m.room.member" and is_ours(UserId(text(event, "state_key")))


def _in_stream_order(events: Sequence[Event], known: Mapping[str, StoredEvent], end: int) -> list[Event]:
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


def _overtaken(events: Sequence[Event], known: Mapping[str, StoredEvent]) -> set[str]:
    """Return the ids of missing events whose effect a later, handled event has replaced."""
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


def _is_state_misordered(events: Sequence[Event], known: Mapping[str, StoredEvent]) -> bool:
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
    """Return a key that is equal for events of which only the last takes effect; None if every event takes effect."""
    if isinstance(event.get("state_key"), str):
        return ("state", type_of(event), text(event, "state_key"))
    if is_message_or_change(event) and (original := replaced(content_of(event))):
        return ("edit", original, sender_of(event))
    return None


def _targets(event: Event) -> set[str]:
    """Return the ids of the events that an edit, a reaction or a redaction refers to."""
    content = content_of(event)
    related: EventId | str | None = inner(content, "m.relates_to").get("event_id")
    redacted = text(content, "redacts") or text(event, "redacts")
    return {each for each in (related, redacted) if isinstance(each, str) and each}
