"""The bus: subscribers get the events of their types, and no others."""

from __future__ import annotations

from structlog.testing import capture_logs

from daarion_appservice.city.events import CityEvent, MembershipChanged, RegistryChanged
from daarion_appservice.city.types import RoomId, SubjectId
from daarion_appservice.ops.process_metrics import process_registry
from daarion_appservice.realtime.bus import Bus

JOINED = MembershipChanged(RoomId("city_general"), SubjectId("u_1"), joined=True)


def test_listeners_get_their_events_in_order() -> None:
    bus, received = Bus(), list[tuple[str, CityEvent]]()
    bus.subscribe(MembershipChanged, lambda event: received.append(("first", event)))
    bus.subscribe(MembershipChanged, lambda event: received.append(("second", event)))
    bus.subscribe(RegistryChanged, lambda event: received.append(("other", event)))

    bus.publish(JOINED)

    assert received == [("first", JOINED), ("second", JOINED)]


def test_event_without_listener_is_ignored() -> None:
    Bus().publish(JOINED)


def test_listener_error_is_counted_and_others_hear() -> None:
    bus, received = Bus(), list[str]()

    def fails(_event: CityEvent) -> None:
        raise RuntimeError("this listener is broken")

    bus.subscribe(MembershipChanged, fails)
    bus.subscribe(MembershipChanged, lambda _: received.append("second"))
    bus.subscribe_local(MembershipChanged, fails)
    bus.subscribe_local(MembershipChanged, lambda _: received.append("own"))
    before = errors("MembershipChanged")

    with capture_logs() as logs:
        bus.publish(JOINED)
        bus.publish_remote(JOINED)

    assert received == ["second", "own", "second"]
    assert errors("MembershipChanged") == before + 3
    assert [entry["event"] for entry in logs] == ["listener_failed"] * 3


def errors(event: str) -> float:
    return process_registry().get_sample_value("daarion_listener_errors_total", {"event": event}) or 0.0
