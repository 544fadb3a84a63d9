"""Presence of ghosts on a real Synapse as a user's ``/sync`` shows it: flaps, cost, and latency of changes.

This service is measured first, then the naive loop, on the same homeserver with the same ghosts and heartbeats. Ten more
ghosts, which are excluded from the other figures, change between online and away, one every two seconds; the latency of these
changes is the time from the heartbeat's request to the response of the user's ``/sync``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from daarion_appservice.demo.child_processes import Child
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import SERVER_NAME

from . import wire
from .contenders import SERVICE_TOKEN, City, slug
from .figures import percentile
from .pace import pace
from .processes import CpuClock, listening, program

_PERIOD_S: Final = 20.0
_TTL_S: Final = 40.0
_MOVERS: Final = 10
_MOVE_S: Final = 2.0
"""Interval of changes in seconds: each of the ten ghosts changes once in a heartbeat's period."""
_PROBE_S: Final = 0.25
_BURSTS_S: Final = 0.2
_REGISTRATION_TIMEOUT_S: Final = 600.0
_ALL_ONLINE_TIMEOUT_S: Final = 120.0
_ONLY_PRESENCE: Final = json.dumps(
    {
        "presence": {"types": ["m.presence"]},
        "account_data": {"types": []},
        "room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 0}, "ephemeral": {"types": []}},
    }
)


@dataclass(frozen=True)
class Plan:
    ghosts: int = 1_000
    duration_s: float = 300.0


QUICK: Final = Plan(ghosts=20, duration_s=10.0)


@dataclass
class _Watcher:
    """A Matrix user who reads ``/sync``, and the presences that it returned."""

    session: aiohttp.ClientSession
    ghosts: int
    shown: dict[int, str] = field(default_factory=dict)
    flaps: int = 0
    """How often a ghost that should be online was shown with another status, or as online again after it."""
    seen_ms: list[float] = field(default_factory=list)
    _moved: dict[tuple[int, str], float] = field(default_factory=dict)

    def moved(self, number: int, presence: str) -> None:
        """Record that a heartbeat which changes a ghost's status is sent now."""
        self._moved[number, presence] = time.monotonic()

    @property
    def unseen(self) -> int:
        """Return the number of changes that ``/sync`` has not returned yet."""
        return len(self._moved)

    def begin(self) -> None:
        """Discard the measurements so far."""
        self.flaps = 0
        self.seen_ms.clear()
        self._moved.clear()

    def online(self) -> int:
        return sum(presence == "online" for number, presence in self.shown.items() if number < self.ghosts)

    async def observe(self) -> None:
        since = ""
        while True:
            query = {"filter": _ONLY_PRESENCE, "timeout": "10000"} | ({"since": since} if since else {})
            async with self.session.get("/_matrix/client/v3/sync", params=query) as answer:
                answer.raise_for_status()
                content = orjson.loads(await answer.read())
            since = content["next_batch"]
            for event in content.get("presence", {}).get("events", ()):
                self._saw(event["sender"], event["content"]["presence"])

    def _saw(self, user: str, presence: str) -> None:
        localpart = user.removeprefix("@agent_a").partition(":")[0]
        if not localpart.isdecimal():
            return
        number = int(localpart)
        before, self.shown[number] = self.shown.get(number), presence
        if number < self.ghosts and presence != "online" and before == "online":
            self.flaps += 1
        moved_s = self._moved.pop((number, presence), None)
        if moved_s is not None:
            self.seen_ms.append((time.monotonic() - moved_s) * 1000)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for this service and one for the naive loop."""
    port = free_port()
    city = City(directory, agents=plan.ghosts + _MOVERS, homeserver=port, ttl_s=_TTL_S)
    await city.prepare()
    setup = SynapseSetup(directory / "synapse", SERVER_NAME, port, registrations=[city.registration])
    async with LocalSynapse(setup) as synapse:
        rows = []
        try:
            await city.start()
            took_s = await _wait_registered(city)
            async with _person(synapse, plan.ghosts) as watcher:
                rows.append(
                    {"settled_s": took_s} | await _measure(city.key, city.child, city.port, synapse, watcher, plan)
                )
                await city.child.stop(30)
                rows.append(await _naive(city, synapse, watcher, plan, directory))
        finally:
            city.stop()
    return rows


async def _naive(city: City, synapse: LocalSynapse, watcher: _Watcher, plan: Plan, directory: Path) -> dict[str, Any]:
    port = free_port()
    arguments = (port, synapse.url, city.as_token, SERVER_NAME)
    child = program("naive", "benchmarks.peers.naive_puts", *arguments, log=directory / "naive.log")
    child.start()
    try:
        await listening(child, port)
        return await _measure("naive_puts", child, port, synapse, watcher, plan)
    finally:
        child.kill()


async def _wait_registered(city: City) -> float:
    """Wait until every ghost is registered and in its room; return the time it took, in seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(_REGISTRATION_TIMEOUT_S), aiohttp.ClientSession() as session:
        while True:
            if not city.child.running:
                raise RuntimeError("\n".join(city.child.last_lines(30)))
            async with session.get(f"http://{HOST}:{city.matrix_port}/readyz") as answer:
                if answer.status == 200:
                    return time.monotonic() - began_s
            await asyncio.sleep(0.5)


@asynccontextmanager
async def _person(synapse: LocalSynapse, ghosts: int) -> AsyncIterator[_Watcher]:
    account = await synapse.register("alice", "secret")
    headers = {"Authorization": f"Bearer {account.access_token}"}
    async with aiohttp.ClientSession(synapse.url, headers=headers) as session:
        async with session.post(f"/_matrix/client/v3/join/%23city_general:{SERVER_NAME}", json={}) as answer:
            answer.raise_for_status()
        watcher = _Watcher(session, ghosts)
        looking = asyncio.create_task(watcher.observe())
        try:
            yield watcher
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _measure(
    key: str, child: Child, port: int, synapse: LocalSynapse, watcher: _Watcher, plan: Plan
) -> dict[str, Any]:
    line = await wire.HttpConnection.open(port)
    beating = asyncio.create_task(_beat_all(line, plan.ghosts))
    try:
        async with asyncio.timeout(_ALL_ONLINE_TIMEOUT_S):
            while watcher.online() < plan.ghosts:
                await asyncio.sleep(0.1)
        watcher.begin()
        synapse_clock, clock = CpuClock.of(synapse.child), CpuClock.of(child)
        delays_ms: list[float] = []
        probing = asyncio.create_task(_probe(watcher.session, delays_ms))
        try:
            await _move(line, watcher, plan)
        finally:
            probing.cancel()
        if beating.done():
            await beating
        return {
            "who": key,
            "ghosts": plan.ghosts,
            "flaps": watcher.flaps,
            "synapse_cpu_share": synapse_clock.used_s / plan.duration_s,
            "cpu_share": clock.used_s / plan.duration_s,
            "seen": len(watcher.seen_ms),
            "unseen": watcher.unseen,
            "seen_p50_ms": percentile(watcher.seen_ms, 50),
            "seen_p95_ms": percentile(watcher.seen_ms, 95),
            "synapse_p99_ms": percentile(delays_ms, 99),
        }
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        line.transport.abort()


async def _beat_all(line: wire.HttpConnection, ghosts: int) -> None:
    """Send one heartbeat per ghost and period, spread over the period; the first ones at once."""
    await _beat(line, [(number, "online") for number in range(ghosts)])
    burst = max(1, int(ghosts / _PERIOD_S * _BURSTS_S))
    async for first, _ in pace(ghosts / _PERIOD_S, burst, float("inf")):
        await _beat(line, [(number % ghosts, "online") for number in range(first, first + burst)])


async def _move(line: wire.HttpConnection, watcher: _Watcher, plan: Plan) -> None:
    async for turn, _ in pace(1 / _MOVE_S, 1, plan.duration_s):
        number = plan.ghosts + turn % _MOVERS
        is_away = turn // _MOVERS % 2
        watcher.moved(number, "unavailable" if is_away else "online")
        await _beat(line, [(number, "away" if is_away else "online")])


async def _beat(line: wire.HttpConnection, beats: list[tuple[int, str]]) -> None:
    for first in range(0, len(beats), 1000):
        items = [{"agent_id": slug(number), "status": status} for number, status in beats[first : first + 1000]]
        status = await line.post("/api/v1/agents/heartbeats", orjson.dumps({"heartbeats": items}), SERVICE_TOKEN)
        if status != 200:
            raise RuntimeError(f"heartbeats were answered {status}")


async def _probe(session: aiohttp.ClientSession, delays_ms: list[float]) -> None:
    """Measure the latency of unrelated requests to Synapse meanwhile, in milliseconds."""
    while True:
        began_s = time.monotonic()
        async with session.get("/_matrix/client/versions") as answer:
            await answer.read()
        delays_ms.append((time.monotonic() - began_s) * 1000)
        await asyncio.sleep(_PROBE_S)
