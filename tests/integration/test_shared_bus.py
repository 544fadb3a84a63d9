"""What happened in one process is heard in the others, or they are told that they missed something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.city.events import CityEvent, EventsMissed, MembershipChanged
from daarion_appservice.city.types import RoomId, SubjectId
from daarion_appservice.realtime import shared_bus as shared_bus_module
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.shared_bus import SharedBus
from tests.parts.city import eventually
from tests.parts.redis import RedisServer

GENERAL = RoomId("city_general")


@dataclass
class Listening:
    """One process's bus, and what was heard on it."""

    bus: Bus
    heard: list[CityEvent]
    _client: Any
    _running: asyncio.Task[None]

    @classmethod
    def start(cls, redis: RedisServer, name: str) -> Listening:
        bus, heard = Bus(), list[CityEvent]()
        for kind in (EventsMissed, MembershipChanged):
            bus.subscribe(kind, heard.append)
        client = connect(redis.url, cluster=False)
        return cls(bus, heard, client, asyncio.create_task(SharedBus(client, bus, name).run()))

    async def hears(self, event: CityEvent) -> None:
        async def is_heard() -> bool:
            return event in self.heard

        await eventually(is_heard, explain=lambda: str(self.heard[-5:]))

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self._client.aclose()


@pytest.fixture
async def both(redis: RedisServer) -> AsyncIterator[list[Listening]]:
    both = [Listening.start(redis, name) for name in ("one", "other")]
    for each in both:
        await each.hears(EventsMissed())
    one, other = both
    await tell_each_other(one, other, came("first"))
    await tell_each_other(other, one, came("second"))
    for each in both:
        each.heard.clear()
    yield both
    for each in both:
        await each.stop()


def came(name: str) -> MembershipChanged:
    return MembershipChanged(GENERAL, SubjectId(name), joined=True)


async def tell_each_other(one: Listening, other: Listening, event: MembershipChanged) -> None:
    one.bus.publish(event)
    await other.hears(event)


async def test_event_reaches_both_processes_once(both: list[Listening]) -> None:
    one, other = both
    for number in range(100):
        one.bus.publish(came(str(number)))
    await other.hears(came("99"))
    assert one.heard == other.heard == [came(str(number)) for number in range(100)]


async def test_redis_outage_publishes_events_missed(both: list[Listening], redis: RedisServer) -> None:
    one, other = both
    redis.kill()
    one.bus.publish(came("unheard"))
    redis.start()
    for each in both:
        await each.hears(EventsMissed())

    async def hears_what_is_told_now() -> bool:
        one.bus.publish(came("later"))
        return came("later") in other.heard

    await eventually(hears_what_is_told_now)
    assert came("unheard") not in other.heard
    assert other.heard.index(EventsMissed()) < other.heard.index(came("later"))


async def test_flushed_redis_stream_resumes(both: list[Listening], redis: RedisServer) -> None:
    """A FLUSHALL leaves the connections as they are."""
    one, other = both
    client = connect(redis.url, cluster=False)
    await client.flushall()
    await client.aclose()
    one.bus.publish(came("unheard"))
    for each in both:
        await each.hears(EventsMissed())
    await tell_each_other(other, one, came("heard"))


async def test_queue_overflow_publishes_events_missed(both: list[Listening], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_bus_module, "_MAX_QUEUED", 10)
    one, other = both
    for number in range(12):
        one.bus.publish(came(str(number)))
    await other.hears(came("11"))
    assert other.heard == [EventsMissed(), came("11")]
