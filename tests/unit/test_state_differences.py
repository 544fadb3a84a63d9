"""Differences between a city room and the current state of its Matrix room, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.identity import Identities
from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.types import HistoryVisibility, MatrixRoomId, Member, Room, RoomId, UserId
from daarion_appservice.matrix.inbound.current_state import (
    CurrentState,
    StateKey,
    is_absent,
    may_change_other_state,
    state_event_key,
)
from daarion_appservice.matrix.inbound.state_differences import StoredState, differences

IDENTITIES = Identities("city.localhost", "daarion_bot")
MATRIX_ROOM = MatrixRoomId("!general:city.localhost")
ALICE, GHOST = UserId("@alice:city.localhost"), UserId("@citizen_u_1:city.localhost")
BOB = UserId("@bob:city.localhost")
DRAWN = "mxc://city.localhost/drawn"
ROOM = Room(
    id=RoomId("city_general"),
    slug="general",
    name="General",
    description="Everything",
    is_default=True,
    archived=False,
    created_at_ms=0,
    matrix_room_id=MATRIX_ROOM,
    join_rule="public",
    history_visibility=HistoryVisibility.WORLD_READABLE,
)
STATE: dict[StateKey, dict[str, Any]] = {
    ("m.room.name", ""): {"name": "General"},
    ("m.room.topic", ""): {"topic": "Everything"},
    ("m.room.join_rules", ""): {"join_rule": "public"},
    ("m.room.history_visibility", ""): {"history_visibility": "world_readable"},
}


def member_state(user: UserId, membership: str, sender: UserId | None = None) -> dict[StateKey, dict[str, Any]]:
    return {("m.room.member", user): {"membership": membership, "sender": sender or user}}


def changed_keys(
    state: Mapping[StateKey, dict[str, Any]],
    *,
    room: Room = ROOM,
    members: tuple[UserId, ...] = (),
    restrictions: Mapping[UserId, Restriction] | None = None,
    pending_moves: tuple[UserId, ...] = (),
) -> set[StateKey]:
    """Return the keys that differ, without the tombstone, which is always returned."""
    events = {
        key: {
            "event_id": f"${number}",
            "type": key[0],
            "state_key": key[1],
            "sender": content.get("sender", ALICE),
            "content": {name: value for name, value in content.items() if name != "sender"},
        }
        for number, (key, content) in enumerate((STATE | dict(state)).items())
    }
    stored = StoredState(
        {user: Member(room.id, user, None) for user in members},
        restrictions or {},
        frozenset(pending_moves),
        frozenset({DRAWN}),
    )
    current = CurrentState(MATRIX_ROOM, events, is_whole=True)
    found = {state_event_key(event) for event in differences(IDENTITIES, room, stored, current)}
    return {key for key in found if key is not None and key[0] != "m.room.tombstone"}


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("m.room.name", {"name": "Square"}),
        ("m.room.topic", {"topic": ""}),
        ("m.room.join_rules", {"join_rule": "invite"}),
        ("m.room.history_visibility", {"history_visibility": "joined"}),
        ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
        ("m.room.power_levels", {"users": {ALICE: 100}}),
        ("m.room.avatar", {"url": "mxc://city.localhost/chosen"}),
    ],
)
def test_changed_room_state_is_returned(key: str, content: dict[str, Any]) -> None:
    assert changed_keys({(key, ""): content}) == {(key, "")}


def test_equal_state_returns_nothing() -> None:
    assert changed_keys({}) == set()
    assert changed_keys(member_state(ALICE, "join"), members=(ALICE,)) == set()


def test_pictures_are_compared_without_drawn_ones() -> None:
    drawn: dict[StateKey, dict[str, Any]] = {("m.room.avatar", ""): {"url": DRAWN}}
    assert changed_keys(drawn) == set()
    assert changed_keys(drawn, room=replace(ROOM, avatar_url="mxc://city.localhost/chosen")) == set(drawn)


@pytest.mark.parametrize("content", [{}, {"name": ""}, {"name": 7}])
def test_missing_name_is_the_slug(content: dict[str, Any]) -> None:
    assert changed_keys({("m.room.name", ""): content}) == {("m.room.name", "")}
    assert changed_keys({("m.room.name", ""): content}, room=replace(ROOM, name="general")) == set()


def test_missing_encryption_event_is_a_difference() -> None:
    assert changed_keys({}, room=replace(ROOM, encrypted=True)) == {("m.room.encryption", "")}


def test_unknown_and_missing_members_are_returned() -> None:
    assert changed_keys(member_state(ALICE, "join")) == {("m.room.member", ALICE)}
    assert changed_keys({}, members=(ALICE,)) == {("m.room.member", ALICE)}


def test_member_with_unsent_move_is_left_out() -> None:
    assert changed_keys(member_state(GHOST, "join"), pending_moves=(GHOST,)) == set()


def test_service_user_is_left_out() -> None:
    assert changed_keys(member_state(IDENTITIES.bot, "join")) == set()


@pytest.mark.parametrize(
    ("membership", "sender", "kind"),
    [
        ("ban", ALICE, RestrictionKind.BANNED),
        ("leave", ALICE, RestrictionKind.KICKED),
        ("invite", ALICE, RestrictionKind.INVITED),
        ("leave", GHOST, None),
    ],
)
def test_restriction_of_ghost_is_compared(membership: str, sender: UserId, kind: RestrictionKind | None) -> None:
    state = member_state(GHOST, membership, sender)
    key = ("m.room.member", GHOST)
    for stored in (None, *RestrictionKind):
        restrictions = {} if stored is None else {GHOST: Restriction(stored, None)}
        assert changed_keys(state, restrictions=restrictions) == (set() if stored is kind else {key}), stored


@pytest.mark.parametrize(("membership", "is_ban"), [("ban", True), ("leave", False), ("invite", False)])
def test_ban_of_matrix_user_is_compared(membership: str, is_ban: bool) -> None:
    state, key = member_state(BOB, membership, ALICE), ("m.room.member", BOB)
    for stored in (None, *RestrictionKind):
        restrictions = {} if stored is None else {BOB: Restriction(stored, None)}
        is_same = is_ban == (stored is RestrictionKind.BANNED)
        assert changed_keys(state, restrictions=restrictions) == (set() if is_same else {key}), stored


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "m.room.power_levels", "state_key": "", "sender": ALICE}, True),
        ({"type": "m.room.join_rules", "state_key": "", "sender": ALICE}, True),
        ({"type": "m.room.member", "state_key": GHOST, "sender": ALICE}, True),
        ({"type": "m.room.member", "state_key": ALICE, "sender": ALICE}, False),
        ({"type": "m.room.name", "state_key": "", "sender": ALICE}, False),
    ],
)
def test_events_that_may_change_other_state(event: dict[str, Any], expected: bool) -> None:
    assert may_change_other_state(event) is expected


def test_absent_member_counts_as_left_by_itself() -> None:
    event = CurrentState(MATRIX_ROOM, {}, is_whole=True).get(("m.room.member", ALICE))
    assert is_absent(event)
    assert (event["sender"], event["content"]) == (ALICE, {})
