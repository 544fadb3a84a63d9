"""Numbers of online members by room, across joins, leaves and presence changes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.types import RoomId, SubjectId

ROOMS = [RoomId("city_general"), RoomId("city_builders")]
SUBJECTS = [SubjectId("u_1"), SubjectId("agent:scribe"), SubjectId("@alice:hs")]

Step = tuple[str, RoomId, SubjectId]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["joined", "left", "came", "went"]), st.sampled_from(ROOMS), st.sampled_from(SUBJECTS)
        ),
        max_size=60,
    )
)
def test_count_equals_online_members(day: list[Step]) -> None:
    online_members = OnlineMembers()
    members: set[tuple[RoomId, SubjectId]] = set()
    online: set[SubjectId] = set()
    for what, room, subject in day:
        match what:
            case "joined":
                online_members.add_membership(room, subject)
                members.add((room, subject))
            case "left":
                online_members.remove_membership(room, subject)
                members.discard((room, subject))
            case "came":
                online_members.set_online(subject)
                online.add(subject)
            case "went":
                online_members.set_offline(subject)
                online.discard(subject)
        for each in ROOMS:
            present = {whose for where, whose in members if where == each and whose in online}
            assert online_members.members_online(each) == len(present)
            assert set(online_members.online_members(each)) == present
            assert {whose for whose in SUBJECTS if online_members.is_member(each, whose)} == {
                whose for where, whose in members if where == each
            }


def test_a_look_at_an_empty_room_leaves_no_trace() -> None:
    online_members = OnlineMembers()
    looks: list[Callable[[], object]] = [
        lambda: online_members.members_online(ROOMS[0]),
        lambda: online_members.online_members(ROOMS[0]),
        lambda: online_members.is_member(ROOMS[0], SUBJECTS[0]),
    ]
    for look in looks:
        assert not look()
    assert not online_members._members_of
    assert not online_members._count
