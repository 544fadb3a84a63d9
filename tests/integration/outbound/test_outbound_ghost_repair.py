"""Repair of ghosts that the homeserver removed from a room, does not know, or whose device is gone."""

from __future__ import annotations

from daarion_appservice.city.types import (
    Delivery,
)
from tests.parts.outbound import (
    GENERAL,
    OKSANA,
    OutboundHarness,
)
from tests.parts.scripted_homeserver import (
    NOT_IN_ROOM,
    NOT_REGISTERED,
    Reply,
    ScriptedHomeserver,
    refused,
)


async def test_ghost_outside_room_joins_again(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    await outbound.post("before")
    await outbound.deliveries_when_done()
    homeserver.next("send", NOT_IN_ROOM)
    await outbound.post("after")
    await outbound.deliveries_when_done()
    assert homeserver.in_room[GENERAL] == ["before", "after"]
    assert len(homeserver.all("join")) == 2


async def test_unregistered_ghost_is_registered_again(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    await outbound.post("before")
    await outbound.deliveries_when_done()
    homeserver.requests.clear()

    homeserver.next("send", NOT_REGISTERED, room=GENERAL)
    await outbound.post("after")

    assert (await outbound.deliveries_when_done())[-1] == ("after", Delivery.SENT)
    assert [
        request.what for request in homeserver.requests if request.what not in {"versions", "ping", "members", "state"}
    ] == [
        "send",
        "register",
        "profile",
        "device",
        "join",
        "send",
    ]


async def test_unknown_device_is_created_again(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    await outbound.post("перше", author=OKSANA)
    await outbound.deliveries_when_done()
    homeserver.next("send", refused(400, "M_UNKNOWN_DEVICE", "a device that doesn't exist"))
    # The response of Synapse for a user who was deactivated and reactivated.
    homeserver.next("register", refused(400, "M_USER_IN_USE"))
    await outbound.post("друге", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("перше", Delivery.SENT), ("друге", Delivery.SENT)]
    assert len(homeserver.all("device")) == 2
    assert [request.content for request in homeserver.all("profile")] == [{"displayname": "Оксана"}] * 2, (
        "the profile is set again"
    )


async def test_repeatedly_unknown_device_fails_message(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    unknown = refused(400, "M_UNKNOWN_DEVICE", "a device that doesn't exist")
    homeserver.next("send", *[unknown] * 3)
    await outbound.post("перше", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("перше", Delivery.FAILED)]


async def test_account_of_person_is_not_used(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", *[refused(400, "M_USER_IN_USE")] * 20)
    homeserver.next("devices", *[Reply(200, {"devices": [{"device_id": "ELEMENT"}]})] * 20)
    await outbound.post("перше", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("перше", Delivery.FAILED)]
    assert homeserver.all("profile") == homeserver.all("send") == []


async def test_ghost_of_earlier_database_is_used(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", refused(400, "M_USER_IN_USE"))
    homeserver.next("devices", Reply(200, {"devices": [{"device_id": "CITY"}]}))
    await outbound.post("перше", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("перше", Delivery.SENT)]
