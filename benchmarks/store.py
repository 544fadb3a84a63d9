"""The presence stores without HTTP, in this process: their part of the cost of a heartbeat.

``machine``  ``city.presence.Presence`` in simulated time: one heartbeat per subject every 20 s for two minutes, in steps of one
             second, each with a search for expired sessions. The cost of deadlines is included.
``memory``, ``redis``  the store's ``record_heartbeat``, 100 heartbeats in each call, one call after the other.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daarion_appservice.city.ports import PresenceStore
from daarion_appservice.city.presence import Heartbeat, Presence
from daarion_appservice.city.types import SubjectId
from daarion_appservice.clock import steady_ms
from daarion_appservice.realtime.presence_memory import MemoryPresence
from daarion_appservice.realtime.presence_redis import RedisPresence
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.redis_sessions import RedisSessions

from .processes import CpuClock
from .redis_server import RedisServer

_PERIOD_S: Final = 20
_SIMULATED_S: Final = 120
_BULK: Final = 100
_TTL_MS: Final = 40_000


@dataclass(frozen=True)
class Plan:
    subjects: tuple[int, ...] = (1_000, 10_000, 100_000)
    beats: int = 100_000


QUICK: Final = Plan(subjects=(200, 2_000), beats=2_000)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for count in plan.subjects:
        subjects = [SubjectId(f"agent:a{number}") for number in range(count)]
        rows.append({"subjects": count, "store": "machine", "us_a_heartbeat": _machine(subjects)})
        memory = MemoryPresence(lambda _: None, steady_ms, ttl_ms=_TTL_MS)
        rows.append({"subjects": count, "store": "memory", **await _beats(memory, subjects, plan.beats)})
        redis = await _redis(subjects, plan.beats, directory / f"store-{count}")
        rows.append({"subjects": count, "store": "redis", **redis})
    return rows


def _machine(subjects: list[SubjectId]) -> float:
    """Return the processor time of a heartbeat in microseconds."""
    machine = Presence(ttl_ms=_TTL_MS)
    step = len(subjects) // _PERIOD_S
    beats = 0
    began_s = time.process_time()
    for second in range(_SIMULATED_S):
        now_ms = second * 1000
        first = second % _PERIOD_S * step
        for subject in subjects[first : first + step]:
            machine.record_heartbeat(subject, now_ms=now_ms)
        machine.expire(now_ms=now_ms)
        beats += step
    return (time.process_time() - began_s) / beats * 1e6


async def _redis(subjects: list[SubjectId], count: int, directory: Path) -> dict[str, float]:
    server = RedisServer(directory)
    await server.start()
    client = connect(server.url, cluster=False)
    store = RedisPresence(
        RedisSessions(client, name="benchmark", ttl_ms=_TTL_MS), lambda _: None, steady_ms, ttl_ms=_TTL_MS
    )
    running = asyncio.create_task(store.run())
    try:
        async with asyncio.timeout(10):
            while store.reason is not None:
                await asyncio.sleep(0.01)
        return await _beats(store, subjects, count, server)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()
        server.child.kill()


async def _beats(
    store: PresenceStore, subjects: list[SubjectId], count: int, server: RedisServer | None = None
) -> dict[str, float]:
    bulks = [
        [Heartbeat(subject) for subject in subjects[first : first + _BULK]] for first in range(0, len(subjects), _BULK)
    ]
    for bulk in bulks:  # the first heartbeat of a subject is a change; the repeated ones are measured
        await store.record_heartbeat(bulk)
    clock = CpuClock.of(server.child) if server else None
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    calls = max(1, count // _BULK)
    for number in range(calls):
        await store.record_heartbeat(bulks[number % len(bulks)])
    beats = sum(len(bulks[number % len(bulks)]) for number in range(calls))
    figures = {
        "us_a_heartbeat": (time.process_time() - began_cpu_s) / beats * 1e6,
        "per_s_at_most": beats / (time.monotonic() - began_s),
    }
    return figures | ({"redis_us_a_heartbeat": clock.used_s / beats * 1e6} if clock else {})
