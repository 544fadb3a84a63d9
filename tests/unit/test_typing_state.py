"""The typing state of rooms, and typing of Matrix users from ``/sync``."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.events import CityEvent, MembershipChanged, TypingChanged
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.types import MatrixRoomId, RoomId, SubjectId
from daarion_appservice.city.typing_state import TypingState
from daarion_appservice.matrix.presence.typing import RemoteTyping

GENERAL, BUILDERS = RoomId("city_general"), RoomId("city_builders")
ALICE, BOB = SubjectId("@alice:city.localhost"), SubjectId("@bob:elsewhere.example")
ROOMS = {MatrixRoomId("!g"): GENERAL, MatrixRoomId("!b"): BUILDERS}


def typing(room: RoomId, *subjects: SubjectId) -> TypingChanged:
    return TypingChanged(room, frozenset(subjects))


# --- TypingState --------------------------------------------------------------------------------------


def test_only_changed_sets_are_published() -> None:
    state = TypingState()
    assert state.set_typing(GENERAL, frozenset()) == []
    assert state.set_typing(GENERAL, frozenset({ALICE})) == [typing(GENERAL, ALICE)]
    assert state.set_typing(GENERAL, frozenset({ALICE})) == []
    assert state.set_typing(GENERAL, frozenset({ALICE, BOB})) == [typing(GENERAL, ALICE, BOB)]
    assert state.set_typing(BUILDERS, frozenset({ALICE})) == [typing(BUILDERS, ALICE)]
    assert state.set_typing(GENERAL, frozenset()) == [typing(GENERAL)]
    assert state.set_typing(GENERAL, frozenset()) == []


def test_leave_ends_typing_in_that_room_only() -> None:
    state = TypingState()
    state.set_typing(GENERAL, frozenset({ALICE, BOB}))
    state.set_typing(BUILDERS, frozenset({ALICE}))
    assert state.remove(GENERAL, ALICE) == [typing(GENERAL, BOB)]
    assert state.remove(GENERAL, ALICE) == []
    assert state.remove(GENERAL, BOB) == [typing(GENERAL)]
    assert state.remove(BUILDERS, BOB) == []


def test_complete_state_ends_typing_in_missing_rooms() -> None:
    state = TypingState()
    state.set_typing(GENERAL, frozenset({ALICE}))
    state.set_typing(BUILDERS, frozenset({BOB}))
    assert state.set_all({BUILDERS: frozenset({BOB})}) == [typing(GENERAL)]
    assert state.set_all({}) == [typing(BUILDERS)]
    assert state.set_all({}) == []


# --- RemoteTyping -------------------------------------------------------------------------------------


def sync_response(**rooms: list[Any]) -> dict[str, Any]:
    """A /sync response with typing users in ``!g`` or ``!b``."""
    return {
        "rooms": {
            "join": {
                f"!{room}": {"ephemeral": {"events": [{"type": "m.typing", "content": {"user_ids": users}}]}}
                for room, users in rooms.items()
            }
        }
    }


def remote_typing() -> tuple[RemoteTyping, list[CityEvent]]:
    published: list[CityEvent] = []
    return RemoteTyping(Identities("city.localhost", "daarion_bot"), published.append), published


def test_ghosts_are_ignored() -> None:
    remote, published = remote_typing()
    ours = ["@agent_daarwizz:city.localhost", "@citizen_u_1:city.localhost", "@daarion_bot:city.localhost"]
    remote.apply_sync(sync_response(g=ours), ROOMS)
    assert published == []
    remote.apply_sync(sync_response(g=[*ours, ALICE, BOB], b=ours), ROOMS)
    assert published == [typing(GENERAL, ALICE, BOB)]


def test_unknown_rooms_and_invalid_users_are_ignored() -> None:
    remote, published = remote_typing()
    remote.apply_sync({"next_batch": "1"}, ROOMS)
    remote.apply_sync(sync_response(x=[ALICE]), ROOMS)
    remote.apply_sync(sync_response(g=[7, None, "nobody", "@agent_x:city.localhost"]), ROOMS)
    receipt = {"type": "m.receipt", "content": {"user_ids": [ALICE]}}
    remote.apply_sync(
        {"rooms": {"join": {"!g": {"ephemeral": {"events": [receipt, {"type": "m.typing"}]}}, "!b": {}}}}, ROOMS
    )
    assert published == []


def test_leave_and_lost_coverage_end_typing() -> None:
    remote, published = remote_typing()
    remote.apply_initial_sync(sync_response(g=[ALICE, BOB], b=[ALICE]), ROOMS)
    published.clear()
    remote.on_membership_changed(MembershipChanged(GENERAL, ALICE, joined=True))
    assert published == []
    remote.on_membership_changed(MembershipChanged(GENERAL, ALICE, joined=False))
    remote.end_room(BUILDERS)
    remote.clear()
    assert published == [typing(GENERAL, BOB), typing(BUILDERS), typing(GENERAL)]


@pytest.mark.parametrize("broken", [None, 5, [], {"ephemeral": None}, {"ephemeral": {"events": None}}], ids=repr)
def test_malformed_room_loses_no_typing_of_others(broken: Any) -> None:
    remote, published = remote_typing()
    response = sync_response(g=[ALICE])
    response["rooms"]["join"] = {"!b": broken, **response["rooms"]["join"]}
    remote.apply_sync(response, ROOMS)
    assert len(published) == 1
    for empty in ({"rooms": None}, {"rooms": {"join": None}}):
        remote.apply_sync(empty, ROOMS)
