"""Unit tests of the counts of online citizens, agents and Matrix users."""

from __future__ import annotations

import pytest

from daarion_appservice.city.online_counts import OnlineCounts
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.presence import Presence, Status
from daarion_appservice.city.types import RoomId, SubjectId


@pytest.mark.parametrize(
    ("subject", "kind"), [("u_1", "citizens"), ("agent:scribe", "agents"), ("@alice:city.localhost", "people")]
)
def test_subject_is_counted_once_by_kind(subject: str, kind: str) -> None:
    presence, counts = Presence(ttl_ms=1_000), OnlineCounts(OnlineMembers())
    numbers = []
    for at_ms, status in enumerate((Status.ONLINE, Status.AWAY, Status.OFFLINE)):
        transition = presence.record_heartbeat(SubjectId(subject), now_ms=at_ms, status=status)
        assert transition is not None
        counts.apply(transition)
        summary = counts.summary()
        numbers.append((summary["online"][kind], summary["online"]["total"], summary["away"]["total"]))  # type: ignore[literal-required]
    assert numbers == [(1, 1, 0), (1, 1, 1), (0, 0, 0)]


def test_summary_has_online_members_by_room() -> None:
    members = OnlineMembers()
    members.add_membership(RoomId("city_general"), SubjectId("u_1"))
    members.set_online(SubjectId("u_1"))
    assert OnlineCounts(members).summary()["rooms"] == {"city_general": 1}
