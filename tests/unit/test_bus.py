"""Whoever wants to know hears of it, and of nothing else."""

from __future__ import annotations

from daarion_appservice.city.events import CityEvent, MembershipChanged, RegistryChanged
from daarion_appservice.city.types import RoomId, SubjectId
from daarion_appservice.realtime.bus import Bus

JOINED = MembershipChanged(RoomId("city_general"), SubjectId("u_1"), joined=True)


def test_every_listener_hears_of_what_it_asked_for_in_the_order_it_asked() -> None:
    bus, heard = Bus(), list[tuple[str, CityEvent]]()
    bus.subscribe(MembershipChanged, lambda event: heard.append(("first", event)))
    bus.subscribe(MembershipChanged, lambda event: heard.append(("second", event)))
    bus.subscribe(RegistryChanged, lambda event: heard.append(("other", event)))

    bus.publish(JOINED)

    assert heard == [("first", JOINED), ("second", JOINED)]


def test_what_nobody_waits_for_is_no_error() -> None:
    Bus().publish(JOINED)
