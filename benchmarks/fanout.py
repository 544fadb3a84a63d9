"""Fan-out: latency and cost of a presence change that is sent to all WebSockets.

*A single change.* All servers run, each with its own process of WebSockets, and change a subject in turns, so that other
load of the machine affects all servers alike. The latency of each delivery is the time from before the request is written
until the reading process has the bytes, its queue included; the floor shows which part of it is not the server's.

*Churn.* One server after the other makes 500 changes per second. Updates that arrive within the time count. A server that
has not delivered all of them soon afterwards has fallen behind, and is stopped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import other_servers
from .audience import Count, ReaderProcess
from .contenders import City, Contender, Floor, Seeds, SocketIo
from .figures import percentile
from .pace import pace
from .processes import CpuClock, rss_mib
from .redis_server import RedisServer

CHANGES_A_SECOND: Final = 500
_BURST: Final = 10
"""Changes in one request to this service: 500 changes per second are 50 requests."""
_PAUSE_S: Final = 0.1
_SINGLE_CHANGE_TIMEOUT_S: Final = 20.0
_AGENTS: Final = 6000


@dataclass(frozen=True)
class Plan:
    sockets: tuple[int, ...] = (1_000, 3_000, 10_000)
    single_changes: int = 25
    churn_s: float = 6.0
    rounds: int = 2
    catch_up_s: float = 3.0
    """How long after the churn updates may still arrive, in seconds."""


QUICK: Final = Plan(sockets=(200,), single_changes=5, churn_s=1.0, rounds=1)


@dataclass
class _Side:
    """One server with its reading process, and its measurements."""

    contender: Contender
    readers: ReaderProcess
    kib_a_socket: float = 0.0
    lone_ms: list[float] = field(default_factory=list)
    lone_cpu_s: float = 0.0
    undelivered: int = 0
    churns: list[dict[str, float]] = field(default_factory=list)
    has_fallen_behind: bool = False


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each number of sockets and server."""
    rows = []
    redis = RedisServer(directory)
    await redis.start()
    try:
        for sockets in plan.sockets:
            rows += await _with_sockets(sockets, plan, directory / f"{sockets}-sockets", redis.url)
    finally:
        redis.child.kill()
    return rows


async def _with_sockets(sockets: int, plan: Plan, directory: Path, redis_url: str) -> list[dict[str, Any]]:
    directory.mkdir(parents=True)
    contenders = [
        City(directory, agents=_AGENTS),
        City(directory, agents=_AGENTS, batch=True),
        Seeds(directory, redis_url=redis_url),
        SocketIo(directory),
        *other_servers.installed(directory),
        Floor(directory),
    ]
    sides: list[_Side] = []
    try:
        for contender in contenders:
            if isinstance(contender, City):  # one by one: migrations do not go side by side in one process
                await contender.prepare()
        await asyncio.gather(*(contender.start() for contender in contenders))
        for contender in contenders:
            side = await _open(contender, sockets, plan, directory)
            sides.append(side)
        await _measure_single_changes(
            [side for side in sides if side.contender.key != "city_batch"], plan.single_changes
        )
        for _ in range(plan.rounds):
            for side in sides:
                await _churn(side, plan)
    finally:
        for side in sides:
            side.readers.stop()
        for contender in contenders:
            contender.stop()
    return [{"sockets": sockets, "who": side.contender.key} | _figures(side) for side in sides]


async def _open(contender: Contender, sockets: int, plan: Plan, directory: Path) -> _Side:
    await contender.be_ready()
    readers = await ReaderProcess.start(contender.key, directory)
    before = rss_mib(contender.child)
    await readers.connect(contender, [contender.request() for _ in range(sockets)])
    await asyncio.sleep(_PAUSE_S)
    side = _Side(contender, readers, kib_a_socket=(rss_mib(contender.child) - before) * 1024 / sockets)
    # The first change of each subject, for which this service reads its name, is not measured.
    first, subjects = await readers.count(), plan.single_changes + 1
    contender.change(0, subjects)
    await _has_all(readers, first, subjects * readers.size, _SINGLE_CHANGE_TIMEOUT_S)
    await _measure_single_change(side, 0)
    side.lone_ms.clear()
    side.lone_cpu_s = 0.0
    return side


async def _measure_single_changes(sides: list[_Side], count: int) -> None:
    for number in range(1, count + 1):
        for side in sides:
            await asyncio.sleep(_PAUSE_S)
            await _measure_single_change(side, number)


async def _measure_single_change(side: _Side, number: int) -> None:
    await side.readers.expect()
    clock = CpuClock.of(side.contender.child)
    began_ns = time.monotonic_ns()
    side.contender.change(number, 1)
    arrived_ns = await side.readers.arrivals_ns(_SINGLE_CHANGE_TIMEOUT_S)
    side.lone_ms += [(at_ns - began_ns) / 1e6 for at_ns in arrived_ns]
    side.lone_cpu_s += clock.used_s
    side.undelivered += side.readers.size - len(arrived_ns)


async def _churn(side: _Side, plan: Plan) -> None:
    if side.has_fallen_behind:
        return
    first, clock = await side.readers.count(), CpuClock.of(side.contender.child)
    changes = await _change_for(side.contender, plan.churn_s)
    last, cpu_s = await side.readers.count(), clock.used_s
    took_s = (last.at_ns - first.at_ns) / 1e9
    updates = last.updates - first.updates
    side.churns.append({"updates_per_s": updates / took_s, "cpu_s": cpu_s, "took_s": took_s, "updates": updates})
    side.has_fallen_behind = not await _has_all(side.readers, first, changes * side.readers.size, plan.catch_up_s)
    if side.has_fallen_behind:
        side.contender.stop()


async def _change_for(contender: Contender, duration_s: float) -> int:
    """Make changes at a constant rate; return their number."""
    changes = 0
    async for number, _ in pace(CHANGES_A_SECOND, _BURST, duration_s):
        contender.change(number, _BURST)
        changes = number + _BURST
    return changes


async def _has_all(readers: ReaderProcess, first: Count, wanted: int, catch_up_s: float) -> bool:
    # An update in which a read ends is not counted.
    enough = wanted * 0.999
    try:
        async with asyncio.timeout(catch_up_s):
            while (await readers.count()).updates - first.updates < enough:
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        return False
    return True


def _figures(side: _Side) -> dict[str, Any]:
    churns = side.churns
    cpu_s, took_s = sum(churn["cpu_s"] for churn in churns), sum(churn["took_s"] for churn in churns)
    updates = sum(churn["updates"] for churn in churns)
    return {
        "kib_a_socket": side.kib_a_socket,
        "lone_p50_ms": percentile(side.lone_ms, 50),
        "lone_p99_ms": percentile(side.lone_ms, 99),
        "lone_us_a_frame": side.lone_cpu_s / len(side.lone_ms) * 1e6 if side.lone_ms else None,
        "undelivered": side.undelivered,
        "updates_per_s": updates / took_s,
        "updates_per_cpu_s": updates / cpu_s if cpu_s else None,
        "cpu_share": cpu_s / took_s,
        "fell_behind": side.has_fallen_behind,
    }
