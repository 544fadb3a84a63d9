"""Who may read what: history visibility, times membership at that time, times what is public."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daarion_appservice.city.history_visibility import (
    OLDEST,
    PUBLIC,
    MembershipPeriod,
    ReadableRanges,
    history_visibility,
    is_known_to,
    is_listed,
    may_be_repeated,
    may_see_room,
    may_subscribe,
    readable_ranges,
)
from daarion_appservice.city.room_events import RoomEvent, RoomEventKind
from daarion_appservice.city.types import Author, AuthorKind, HistoryVisibility, Message, MessageId, Room, RoomId

WORLD, SHARED, INVITED, JOINED = HistoryVisibility
HALL = Room(RoomId("city_hall"), "hall", "Hall", "", is_default=False, archived=False, created_at_ms=1)
ALICE = Author(AuthorKind.MATRIX, "@alice:city.localhost", "Аліса")

STRANGER = PUBLIC
INVITEE = readable_ranges([MembershipPeriod(10, None)])
MEMBER = readable_ranges([MembershipPeriod(10, 20)])
"""Invited with the event 10, joined with 20, still there."""
FORMER = readable_ranges([MembershipPeriod(10, 20, 30)])
UNINVITED = readable_ranges([MembershipPeriod(10, None, 15)])
"""The invitation was taken back."""
BACK = readable_ranges([MembershipPeriod(10, 20, 30), MembershipPeriod(40, 40)])


def message_at(seq: int, visibility: HistoryVisibility = WORLD) -> Message:
    return Message(MessageId(f"m{seq}"), HALL.id, seq, ALICE, "…", 1, visibility=visibility)


@pytest.mark.parametrize(
    ("reading", "visibility", "readable"),
    [
        # which of the events 5, 12, 20, 25, 30, 35, 45 may be read
        (STRANGER, WORLD, [5, 12, 20, 25, 30, 35, 45]),
        (STRANGER, SHARED, []),
        (STRANGER, INVITED, []),
        (STRANGER, JOINED, []),
        (INVITEE, WORLD, [5, 12, 20, 25, 30, 35, 45]),
        (INVITEE, SHARED, []),
        (INVITEE, INVITED, [12, 20, 25, 30, 35, 45]),
        (INVITEE, JOINED, []),
        (MEMBER, SHARED, [5, 12, 20, 25, 30, 35, 45]),
        (MEMBER, INVITED, [12, 20, 25, 30, 35, 45]),
        (MEMBER, JOINED, [20, 25, 30, 35, 45]),
        (FORMER, WORLD, [5, 12, 20, 25, 30, 35, 45]),
        (FORMER, SHARED, [5, 12, 20, 25, 30]),
        (FORMER, INVITED, [12, 20, 25, 30]),
        (FORMER, JOINED, [20, 25, 30]),
        (UNINVITED, SHARED, []),
        (UNINVITED, INVITED, [12]),
        (UNINVITED, JOINED, []),
        (BACK, SHARED, [5, 12, 20, 25, 30, 35, 45]),
        (BACK, INVITED, [12, 20, 25, 30, 45]),
        (BACK, JOINED, [20, 25, 30, 45]),
    ],
)
def test_event_is_readable(reading: ReadableRanges, visibility: HistoryVisibility, readable: list[int]) -> None:
    assert [seq for seq in (5, 12, 20, 25, 30, 35, 45) if reading.may_read(visibility, seq)] == readable


@pytest.mark.parametrize(
    ("reading", "edit", "is_readable"),
    [
        (PUBLIC, (50, WORLD), True),
        (PUBLIC, (50, SHARED), False),
        (MEMBER, (50, JOINED), True),
        (FORMER, (25, JOINED), True),
        (FORMER, (50, JOINED), False),
    ],
)
def test_edit_narrows_who_reads_a_message(
    reading: ReadableRanges, edit: tuple[int, HistoryVisibility], is_readable: bool
) -> None:
    message = replace(message_at(5), edit_seq=edit[0], edit_visibility=edit[1])
    assert reading.may_read_message(message) is is_readable


def test_event_about_unreadable_message_is_unreadable() -> None:
    newcomer = readable_ranges([MembershipPeriod(40, 40)])
    event = RoomEvent(HALL.id, 50, RoomEventKind.REACTION, 1, message_at(25, JOINED), ALICE, "👍", visibility=JOINED)
    assert newcomer.may_read(event.visibility, event.seq)
    assert not newcomer.may_read_event(event)
    assert MEMBER.may_read_event(event)


def test_join_and_leave_move_a_reading() -> None:
    joined = PUBLIC.with_join(7)
    assert joined == readable_ranges([MembershipPeriod(7, 7)])
    assert joined.with_join(9) == joined
    left = joined.with_leave(11)
    assert left == readable_ranges([MembershipPeriod(7, 7, 11)])
    assert left.with_leave(13) == left
    assert left.with_join(20).is_member
    assert not left.is_member


@pytest.mark.parametrize(
    ("visibility", "rule", "was_public", "reading", "is_known", "is_seen", "may_follow"),
    [
        (WORLD, "public", True, STRANGER, True, True, True),
        (WORLD, "invite", True, STRANGER, True, True, True),
        (SHARED, "public", False, STRANGER, True, True, False),
        (SHARED, "knock", False, STRANGER, True, True, False),
        (SHARED, "knock_restricted", False, STRANGER, True, True, False),
        (SHARED, "restricted", False, STRANGER, False, False, False),
        (JOINED, "invite", False, STRANGER, False, False, False),
        (JOINED, "invite", True, STRANGER, True, False, False),
        (JOINED, "invite", False, INVITEE, True, True, False),
        (JOINED, "invite", False, MEMBER, True, True, True),
        (JOINED, "invite", False, FORMER, True, False, False),
        (SHARED, "knock", False, FORMER, True, True, False),
        (JOINED, "unheard of", False, STRANGER, False, False, False),
    ],
)
def test_room_is_known(
    visibility: HistoryVisibility,
    rule: str,
    was_public: bool,
    reading: ReadableRanges,
    is_known: bool,
    is_seen: bool,
    may_follow: bool,
) -> None:
    room = replace(HALL, history_visibility=visibility, join_rule=rule, was_public=was_public, was_private=True)
    assert (is_known_to(room, reading), may_see_room(room, reading), may_subscribe(room, reading)) == (
        is_known,
        is_seen,
        may_follow,
    )
    assert is_listed(room) is (is_seen and reading is STRANGER) or reading is not STRANGER


@pytest.mark.parametrize(
    ("now", "repeated"),
    [
        # of messages of each visibility from before and after the newest member joined, with the event 40
        (WORLD, [(WORLD, 30), (WORLD, 50)]),
        (SHARED, [(WORLD, 30), (WORLD, 50), (SHARED, 30), (SHARED, 50)]),
        (INVITED, [(WORLD, 30), (WORLD, 50), (SHARED, 30), (SHARED, 50), (INVITED, 50), (JOINED, 50)]),
        (JOINED, [(WORLD, 30), (WORLD, 50), (SHARED, 30), (SHARED, 50), (INVITED, 50), (JOINED, 50)]),
    ],
)
def test_agent_repeats_only_what_all_may_read(
    now: HistoryVisibility, repeated: list[tuple[HistoryVisibility, int]]
) -> None:
    candidates = [(visibility, seq) for visibility in HistoryVisibility for seq in (30, 50)]
    assert [each for each in candidates if may_be_repeated(message_at(each[1], each[0]), now, 40)] == repeated


def test_agent_does_not_repeat_restricted_edit() -> None:
    edited = replace(message_at(5), edit_seq=30, edit_visibility=JOINED)
    assert not may_be_repeated(edited, JOINED, 40)
    assert not may_be_repeated(edited, WORLD, 0)
    assert may_be_repeated(edited, JOINED, 20)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        *((each.value, each) for each in HistoryVisibility),
        (None, SHARED),
        ("", SHARED),
        ("nobody", SHARED),
        (["joined"], SHARED),
        ({"joined": 1}, SHARED),
        (1, SHARED),
    ],
)
def test_unknown_history_visibility_is_shared(value: object, meaning: HistoryVisibility) -> None:
    assert history_visibility(value) is meaning


def test_oldest_is_before_brought_in_history() -> None:
    assert MEMBER.may_read(SHARED, -1_000_000)
    assert OLDEST < -(1 << 53)
