"""Which events of a room's history are missing, and where they belong."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.types import MessageId, UserId
from daarion_appservice.matrix.backfill.federated_history import HistoryCheckResult, compare_history
from daarion_appservice.matrix.backfill.missing_events import InboxChanges, plan_changes, since_received
from daarion_appservice.storage.inbox import InboxState, StoredEvent

NEW, DONE, DEAD = InboxState.NEW, InboxState.DONE, InboxState.DEAD
BOB = "@bob:elsewhere.org"


def message_event(event_id: str, *, sender: Any = BOB, **content: Any) -> dict[str, Any]:
    return {"type": "m.room.message", "event_id": event_id, "room_id": "!r", "sender": sender, "content": content}


def own_event(event_id: str) -> dict[str, Any]:
    return message_event(event_id, sender="@citizen_u:city.localhost")


def edit(event_id: str, of: str, *, sender: str = BOB) -> dict[str, Any]:
    return message_event(event_id, sender=sender, **{"m.relates_to": {"rel_type": "m.replace", "event_id": of}})


def reaction(event_id: str, to: str) -> dict[str, Any]:
    return message_event(event_id, **{"m.relates_to": {"rel_type": "m.annotation", "event_id": to}}) | {
        "type": "m.reaction"
    }


def redaction(event_id: str, of: str) -> dict[str, Any]:
    return message_event(event_id, redacts=of) | {"type": "m.room.redaction"}


def state(event_id: str, event_type: str, key: str = "") -> dict[str, Any]:
    return message_event(event_id) | {"type": event_type, "state_key": key}


def planned(
    events: list[dict[str, Any]], *, ordered_from: Any = 0, places: Any = None, **states: InboxState
) -> InboxChanges:
    """``states`` are those of events that came, in that order; ``places`` are the numbers of the city's messages."""
    known = {f"${name}": StoredEvent(each, number) for number, (name, each) in enumerate(states.items())}
    numbers = {f"${name}": (number, MessageId(f"message {name}")) for name, number in (places or {}).items()}
    return plan_changes(events, known, numbers, _is_ours, in_stream_order_from=ordered_from)


def _is_ours(user: UserId) -> bool:
    return user.endswith(":city.localhost")


def positions(found: InboxChanges) -> list[tuple[str, str | None]]:
    return [(row.event_id, row.before_message) for row in found.pending]


def test_known_events_change_nothing() -> None:
    found = planned([message_event("$a"), message_event("$b")], a=DONE, b=DEAD)
    assert found == InboxChanges([], [], [], 0)


def test_inserted_event_precedes_next_message() -> None:
    found = planned(
        [message_event("$a"), message_event("$x"), message_event("$b")], a=DONE, b=DONE, places={"a": 1, "b": 2}
    )
    assert positions(found) == [("$x", "message b")]
    assert found.missing == 1
    assert found.pending[0].is_confirmed


def test_events_after_processed_ones_pend_in_order() -> None:
    events = [message_event("$a"), message_event("$x"), message_event("$w"), message_event("$y")]
    assert positions(planned(events, a=DONE, w=NEW, places={"a": 1})) == [("$x", None), ("$w", None), ("$y", None)]


def test_echoed_city_message_does_not_move_late_event() -> None:
    # The city gave its own message the number 1 long before Matrix had it.
    events = [message_event("$a"), message_event("$x"), own_event("$o"), message_event("$b")]
    found = planned(events, a=DONE, o=DONE, b=DONE, places={"a": 2, "o": 1, "b": 3})
    assert positions(found) == [("$x", "message b")]
    found = planned(events[:3], a=DONE, o=DONE, places={"a": 2, "o": 1})
    assert positions(found) == [("$x", None)]
    found = planned(events[:3], a=DONE, o=DONE, places={"a": 1, "o": 2})
    assert positions(found) == [("$x", "message o")]


def test_late_event_precedes_next_message_of_sender() -> None:
    # Both homeservers wrote while the link was cut, and Bob's messages came by transaction behind Alice's.
    alice = "@alice:city.example"
    events = [
        message_event("$1", sender=alice),
        message_event("$b"),
        message_event("$x", sender=alice),
        message_event("$y"),
        message_event("$3", sender=alice),
    ]
    stored_as = {"1": DONE, "3": DONE, "b": DONE}
    found = planned(events, ordered_from=len(events), places={"1": 1, "3": 2, "b": 3}, **stored_as)
    assert positions(found) == [("$x", "message 3"), ("$y", None)]


def test_transaction_order_overrides_topological_order() -> None:
    events = [message_event("$2"), message_event("$x"), message_event("$1"), message_event("$4"), message_event("$3")]
    stored_as = {"1": NEW, "2": NEW, "3": NEW, "4": NEW}
    assert [row.event_id for row in planned(events, ordered_from=3, **stored_as).pending] == [
        "$1",
        "$x",
        "$2",
        "$4",
        "$3",
    ]
    assert [row.event_id for row in planned(events, **stored_as).pending] == ["$2", "$x", "$1", "$4", "$3"]


@pytest.mark.parametrize(
    ("late", "later"),
    [
        (state("$x", "m.room.name"), state("$b", "m.room.name")),
        (state("$x", "m.room.member", BOB), state("$b", "m.room.member", BOB)),
        (edit("$x", "$a"), edit("$b", "$a")),
    ],
    ids=["name", "membership", "edit"],
)
def test_late_event_that_was_overtaken_is_ignored(late: dict[str, Any], later: dict[str, Any]) -> None:
    found = planned([message_event("$a"), late, later], a=DONE, b=DONE)
    assert (found.pending, [row.event_id for row in found.done], found.missing) == ([], ["$x"], 1)


@pytest.mark.parametrize(
    "later",
    [
        state("$b", "m.room.topic"),
        state("$b", "m.room.member", "@carol:elsewhere.org"),
        edit("$b", "$other"),
        edit("$b", "$a", sender="@carol:elsewhere.org"),
    ],
    ids=["topic", "another member", "another message", "another editor"],
)
def test_a_late_event_that_nothing_overtook_is_handled(later: dict[str, Any]) -> None:
    for late in (state("$x", "m.room.name"), state("$x", "m.room.member", BOB), edit("$x", "$a")):
        found = planned([message_event("$a"), late, later], a=DONE, b=DONE)
        assert ([row.event_id for row in found.pending], found.done) == (["$x"], [])


@pytest.mark.parametrize("about", [edit("$b", "$x"), reaction("$b", "$x"), redaction("$b", "$x")])
def test_relation_before_its_message_is_retried(about: dict[str, Any]) -> None:
    found = planned([message_event("$a"), message_event("$x"), about, message_event("$c")], a=DONE, b=DONE, c=DONE)
    assert ([row.event_id for row in found.pending], found.repeated, found.missing) == (["$x", "$b"], ["$b"], 1)


def test_history_before_oldest_event_is_ignored() -> None:
    events = [message_event("$x"), message_event("$y"), message_event("$a"), message_event("$z")]
    known = {"$a": StoredEvent(DONE, 1)}
    assert since_received(events, known, _is_ours) == events[2:]
    assert since_received(events, {}, _is_ours) == []


def test_history_before_first_own_membership_is_ignored() -> None:
    bot, citizen = (state(f"${name}", "m.room.member", f"@{name}:city.localhost") for name in ("bot", "citizen_u"))
    bob = state("$bob", "m.room.member", BOB)
    # The message was read when the city followed the upgrade of its room.
    events = [bob, message_event("$read"), state("$name", "m.room.name"), bot, message_event("$x"), citizen]
    assert since_received(events, {"$read": StoredEvent(DONE, 1)}, _is_ours) == events[3:]
    assert since_received(events, {"$x": StoredEvent(DONE, 1)}, _is_ours) == events[4:]
    assert since_received(events, {}, _is_ours) == []


MINUTES = 60_000


def test_complete_point_advances_to_stable_history() -> None:
    first = compare_history(["$1", "$2"], None, 0, 10, has_point=True)
    assert first == HistoryCheckResult(None, ["$1", "$2"], 10)
    soon = compare_history(["$1", "$2", "$3"], first.seen, first.seen_at_ms, 1 * MINUTES, has_point=True)
    assert soon == first
    later = compare_history(["$1", "$2", "$3", "$4"], soon.seen, soon.seen_at_ms, 6 * MINUTES, has_point=True)
    assert later == HistoryCheckResult("$2", ["$3", "$4"], 6 * MINUTES)


def test_complete_point_stays_at_backfilled_history() -> None:
    repeated = compare_history(["$1", "$late", "$2"], ["$1", "$2"], 0, 6 * MINUTES, has_point=True)
    assert repeated == HistoryCheckResult(None, ["$1", "$late", "$2"], 6 * MINUTES)


def test_first_complete_point_is_oldest_event() -> None:
    assert compare_history(["$1", "$2"], None, 0, 10, has_point=False) == HistoryCheckResult("$1", ["$2"], 10)
    assert compare_history([], None, 0, 10, has_point=False) == HistoryCheckResult(None, [], 10)
