"""The shared bus: events of one process reach the others, or these publish BusEventsLost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.city.events import BusEventsLost, CityEvent, MembershipChanged
from daarion_appservice.city.types import RoomId, SubjectId
from daarion_appservice.realtime import shared_bus as shared_bus_module
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.shared_bus import SharedBus
from tests.parts.city import eventually
from tests.parts.redis import RedisServer

GENERAL = RoomId("city_general")


@dataclass
class SharedBusHarness:
    """The bus of one process, and the events that it received."""

    bus: Bus
    events: list[CityEvent]
    _client: Any
    _running: asyncio.Task[None]

    @classmethod
    def start(cls, redis: RedisServer, name: str) -> SharedBusHarness:
        bus, received = Bus(), list[CityEvent]()
        for kind in (BusEventsLost, MembershipChanged):
            bus.subscribe(kind, received.append)
        client = connect(redis.url, cluster=False)
        return cls(bus, received, client, asyncio.create_task(SharedBus(client, bus, name).run()))

    async def expect(self, event: CityEvent) -> None:
        async def is_received() -> bool:
            return event in self.events

        await eventually(is_received, explain=lambda: str(self.events[-5:]))

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self._client.aclose()


@pytest.fixture
async def processes(redis: RedisServer) -> AsyncIterator[list[SharedBusHarness]]:
    processes = [SharedBusHarness.start(redis, name) for name in ("one", "other")]
    for each in processes:
        await each.expect(BusEventsLost())
    one, other = processes
    await receive_from_each_other(one, other, membership_changed("first"))
    await receive_from_each_other(other, one, membership_changed("second"))
    for each in processes:
        each.events.clear()
    yield processes
    for each in processes:
        await each.stop()


def membership_changed(name: str) -> MembershipChanged:
    return MembershipChanged(GENERAL, SubjectId(name), joined=True)


async def receive_from_each_other(one: SharedBusHarness, other: SharedBusHarness, event: MembershipChanged) -> None:
    one.bus.publish(event)
    await other.expect(event)


async def test_event_reaches_both_processes_once(processes: list[SharedBusHarness]) -> None:
    one, other = processes
    for number in range(100):
        one.bus.publish(membership_changed(str(number)))
    await other.expect(membership_changed("99"))
    assert one.events == other.events == [membership_changed(str(number)) for number in range(100)]


async def test_redis_outage_publishes_bus_events_lost(processes: list[SharedBusHarness], redis: RedisServer) -> None:
    one, other = processes
    redis.kill()
    one.bus.publish(membership_changed("unheard"))
    redis.start()
    for each in processes:
        await each.expect(BusEventsLost())

    async def receives_later_event() -> bool:
        one.bus.publish(membership_changed("later"))
        return membership_changed("later") in other.events

    await eventually(receives_later_event)
    assert membership_changed("unheard") not in other.events
    assert other.events.index(BusEventsLost()) < other.events.index(membership_changed("later"))


async def test_flushed_redis_stream_resumes(processes: list[SharedBusHarness], redis: RedisServer) -> None:
    """``FLUSHALL`` closes no connections."""
    one, other = processes
    client = connect(redis.url, cluster=False)
    await client.flushall()
    await client.aclose()
    one.bus.publish(membership_changed("unheard"))
    for each in processes:
        await each.expect(BusEventsLost())
    await receive_from_each_other(other, one, membership_changed("heard"))


async def test_queue_overflow_publishes_bus_events_lost(
    processes: list[SharedBusHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_bus_module, "_MAX_QUEUED", 10)
    one, other = processes
    for number in range(12):
        one.bus.publish(membership_changed(str(number)))
    await other.expect(membership_changed("11"))
    assert other.events == [BusEventsLost(), membership_changed("11")]


async def test_event_of_another_version_publishes_bus_events_lost(
    processes: list[SharedBusHarness], redis: RedisServer
) -> None:
    """A rolling update has two versions of the service at once."""
    one, other = processes
    client = connect(redis.url, cluster=False)
    for unknown in ("OfLaterVersion {}", 'MembershipChanged {"other": 1}'):
        newer = SharedBus(client, Bus(), "newer")
        await newer._script.run(client, (shared_bus_module._STREAM, shared_bus_module._NUMBER), ["newer", unknown])
        for each in processes:
            await each.expect(BusEventsLost())
            each.events.clear()
    await client.aclose()
    await receive_from_each_other(one, other, membership_changed("known"))
