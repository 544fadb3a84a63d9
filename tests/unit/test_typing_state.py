"""Who is typing where: only what is new is told, and nobody types for ever."""

from __future__ import annotations

from typing import Any

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


# --- the rules ----------------------------------------------------------------------------------------


def test_only_another_set_is_told() -> None:
    typists = TypingState()
    assert typists.are(GENERAL, frozenset()) == []
    assert typists.are(GENERAL, frozenset({ALICE})) == [typing(GENERAL, ALICE)]
    assert typists.are(GENERAL, frozenset({ALICE})) == []
    assert typists.are(GENERAL, frozenset({ALICE, BOB})) == [typing(GENERAL, ALICE, BOB)]
    assert typists.are(BUILDERS, frozenset({ALICE})) == [typing(BUILDERS, ALICE)]
    assert typists.are(GENERAL, frozenset()) == [typing(GENERAL)]
    assert typists.are(GENERAL, frozenset()) == []


def test_whoever_leaves_stops_typing_there_and_nowhere_else() -> None:
    typists = TypingState()
    typists.are(GENERAL, frozenset({ALICE, BOB}))
    typists.are(BUILDERS, frozenset({ALICE}))
    assert typists.left(GENERAL, ALICE) == [typing(GENERAL, BOB)]
    assert typists.left(GENERAL, ALICE) == []
    assert typists.left(GENERAL, BOB) == [typing(GENERAL)]
    assert typists.left(BUILDERS, BOB) == []


def test_the_whole_state_ends_what_it_does_not_mention() -> None:
    typists = TypingState()
    typists.are(GENERAL, frozenset({ALICE}))
    typists.are(BUILDERS, frozenset({BOB}))
    assert typists.are_all({BUILDERS: frozenset({BOB})}) == [typing(GENERAL)]
    assert typists.are_all({}) == [typing(BUILDERS)]
    assert typists.are_all({}) == []


# --- as Matrix says it --------------------------------------------------------------------------------


def answer(**rooms: list[Any]) -> dict[str, Any]:
    """A /sync in which somebody types in ``!g`` or ``!b``."""
    return {
        "rooms": {
            "join": {
                f"!{room}": {"ephemeral": {"events": [{"type": "m.typing", "content": {"user_ids": users}}]}}
                for room, users in rooms.items()
            }
        }
    }


def notices() -> tuple[RemoteTyping, list[CityEvent]]:
    published: list[CityEvent] = []
    return RemoteTyping(Identities("city.localhost", "daarion_bot"), published.append), published


def test_people_count_and_ghosts_do_not() -> None:
    taken, published = notices()
    ours = ["@agent_daarwizz:city.localhost", "@citizen_u_1:city.localhost", "@daarion_bot:city.localhost"]
    taken.take(answer(g=ours), ROOMS)
    assert published == []
    taken.take(answer(g=[*ours, ALICE, BOB], b=ours), ROOMS)
    assert published == [typing(GENERAL, ALICE, BOB)]


def test_rooms_and_things_that_are_not_the_citys_are_nothing() -> None:
    taken, published = notices()
    taken.take({"next_batch": "1"}, ROOMS)
    taken.take(answer(x=[ALICE]), ROOMS)
    taken.take(answer(g=[7, None, "nobody", "@agent_x:city.localhost"]), ROOMS)
    receipt = {"type": "m.receipt", "content": {"user_ids": [ALICE]}}
    taken.take({"rooms": {"join": {"!g": {"ephemeral": {"events": [receipt, {"type": "m.typing"}]}}, "!b": {}}}}, ROOMS)
    assert published == []


def test_what_cannot_be_seen_ends() -> None:
    taken, published = notices()
    taken.take_all(answer(g=[ALICE, BOB], b=[ALICE]), ROOMS)
    published.clear()
    taken.follow(MembershipChanged(GENERAL, ALICE, joined=True))
    assert published == []
    taken.follow(MembershipChanged(GENERAL, ALICE, joined=False))
    taken.end(BUILDERS)
    taken.clear()
    assert published == [typing(GENERAL, BOB), typing(BUILDERS), typing(GENERAL)]
