"""The order of messages: in one room, between rooms, during outages, and before a room is linked."""

from __future__ import annotations

import asyncio

import pytest

from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import (
    Delivery,
    EventId,
)
from daarion_appservice.matrix.outbound import retry_delays
from daarion_appservice.matrix.outbound import worker as worker_module
from daarion_appservice.matrix.outbound.retry_delays import MAX_ATTEMPTS
from tests.parts.city import eventually
from tests.parts.messaging import link
from tests.parts.outbound import (
    BUILDERS,
    GENERAL,
    OKSANA,
    SCRIBE,
    OutboundHarness,
)
from tests.parts.scripted_homeserver import (
    HANG_UP,
    ScriptedHomeserver,
    refused,
)


async def test_waiting_room_delays_no_other_room(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_BATCH_SIZE", 3)
    await outbound.post("first", "builders")
    await outbound.deliveries_when_done("builders")
    homeserver.next("send", refused(429, "M_LIMIT_EXCEEDED"), room=GENERAL)
    for number in range(6):
        await outbound.post(f"waits {number}")
    await outbound.post("passes", "builders")

    async def has_passed() -> bool:
        return ("passes", Delivery.SENT) in await outbound.deliveries("builders")

    await eventually(has_passed)
    assert not homeserver.in_room[GENERAL]
    await outbound.deliveries_when_done()
    assert homeserver.in_room[GENERAL] == [f"waits {number}" for number in range(6)]


async def test_order_of_each_room_survives_failures(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    for number in range(10):
        homeserver.next("send", HANG_UP if number % 3 else refused(500, "M_UNKNOWN"))
    for number in range(20):
        await outbound.post(str(number), author=(SCRIBE, OKSANA)[number % 2])
        await outbound.post(str(number), "builders", author=(OKSANA, SCRIBE)[number % 2])

    await outbound.deliveries_when_done()
    await outbound.deliveries_when_done("builders")
    assert homeserver.in_room == {room: [str(n) for n in range(20)] for room in (GENERAL, BUILDERS)}


async def test_message_waits_during_outage(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_delays, "UNAVAILABLE_MS", 20)
    outage = [HANG_UP] * (MAX_ATTEMPTS + 1)
    for what in ("send", "members"):
        homeserver.next(what, *outage)
    await outbound.post("waiting")
    assert await outbound.deliveries_when_done() == [("waiting", Delivery.SENT)], "an outage uses up no attempts"
    assert len(homeserver.all("send")) == len(outage) + 1


async def test_message_waits_for_link_of_its_room(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_delays, "UNLINKED_MS", 600_000)
    await outbound.unlink_general()
    await outbound.post("early")
    await asyncio.sleep(0.05)
    assert await outbound.deliveries() == [("early", Delivery.PENDING)]

    async with outbound.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    await outbound.post("second")
    assert (await outbound.deliveries())[0] == ("early", Delivery.PENDING), "a new message causes no attempt"
    outbound.worker.resume()
    assert await outbound.deliveries_when_done() == [("early", Delivery.SENT), ("second", Delivery.SENT)]


async def test_echo_before_response_loses_no_message(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    answer = homeserver.hold("send")
    first = await outbound.post("first")

    async def is_being_sent() -> bool:
        return bool(homeserver.all("send"))

    await eventually(is_being_sent)
    async with outbound.database.transaction() as tx:
        await tx.outbox.delete_message(first.id)
        await outbound.messaging.messages.mark_sent(tx, first, EventId("$0"))
    await outbound.post("second")
    answer.set()
    assert await outbound.deliveries_when_done() == [("first", Delivery.SENT), ("second", Delivery.SENT)]
