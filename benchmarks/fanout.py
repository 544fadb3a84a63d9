"""Fan-out: how soon, and at what cost, a change reaches everybody who watches.

*A lone change.* All contenders are up, each with its own process full of WebSockets; they are told to change somebody in turn,
so that whatever else the machine does meets all of them alike. Each delivery is timed, from before the request was written
until the reader's process had the bytes, its own queue included; the floor shows how much of that is not ours.

*Churn.* One after the other, 500 changes a second. What arrives within the time counts. Who has not delivered everything
soon after its end fell behind, and is stopped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .audience import Audience, Count
from .contenders import City, Contender, Floor, Seeds, SocketIo
from .figures import percentile
from .pace import pace
from .processes import CpuClock, rss_mib
from .redis_server import RedisServer

CHANGES_A_SECOND: Final = 500
_BURST: Final = 10
"""Changes in one request to us: 500 a second come as 50 requests."""
_PAUSE_S: Final = 0.1
_LONE_WAIT_S: Final = 20.0
_AGENTS: Final = 6000


@dataclass(frozen=True)
class Plan:
    sockets: tuple[int, ...] = (1_000, 3_000, 10_000)
    lone_changes: int = 25
    churn_s: float = 6.0
    rounds: int = 2
    catch_up_s: float = 3.0
    """How long after churn everything may take to arrive."""


QUICK: Final = Plan(sockets=(200,), lone_changes=5, churn_s=1.0, rounds=1)


@dataclass
class _Side:
    """One contender with its audience, and what was seen of it."""

    contender: Contender
    audience: Audience
    kib_a_socket: float = 0.0
    lone_ms: list[float] = field(default_factory=list)
    undelivered: int = 0
    churns: list[dict[str, float]] = field(default_factory=list)
    has_fallen_behind: bool = False


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """A row for each number of sockets and contender."""
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
        Floor(directory),
    ]
    sides: list[_Side] = []
    try:
        for contender in contenders:
            if isinstance(contender, City):  # one by one: migrations do not go side by side in one process
                await contender.prepare()
        await asyncio.gather(*(contender.start() for contender in contenders))
        for contender in contenders:
            side = await _open(contender, sockets, directory)
            sides.append(side)
        await _lone_changes([side for side in sides if side.contender.key != "city_batch"], plan.lone_changes)
        for _ in range(plan.rounds):
            for side in sides:
                await _churn(side, plan)
    finally:
        for side in sides:
            side.audience.dismiss()
        for contender in contenders:
            contender.stop()
    return [{"sockets": sockets, "who": side.contender.key} | _figures(side) for side in sides]


async def _open(contender: Contender, sockets: int, directory: Path) -> _Side:
    await contender.be_ready()
    audience = await Audience.assemble(contender.key, directory)
    before = rss_mib(contender.child)
    await audience.connect(contender, [contender.request() for _ in range(sockets)])
    await asyncio.sleep(_PAUSE_S)
    side = _Side(contender, audience, kib_a_socket=(rss_mib(contender.child) - before) * 1024 / sockets)
    # What is done for the first time is not what is measured.
    await _lone_change(side, 0)
    side.lone_ms.clear()
    return side


async def _lone_changes(sides: list[_Side], count: int) -> None:
    for number in range(1, count + 1):
        for side in sides:
            await asyncio.sleep(_PAUSE_S)
            await _lone_change(side, number)


async def _lone_change(side: _Side, number: int) -> None:
    await side.audience.expect()
    began_ns = time.monotonic_ns()
    side.contender.change(number, 1)
    arrived_ns = await side.audience.arrivals_ns(_LONE_WAIT_S)
    side.lone_ms += [(at_ns - began_ns) / 1e6 for at_ns in arrived_ns]
    side.undelivered += side.audience.size - len(arrived_ns)


async def _churn(side: _Side, plan: Plan) -> None:
    if side.has_fallen_behind:
        return
    first, clock = await side.audience.count(), CpuClock.of(side.contender.child)
    changes = await _change_for(side.contender, plan.churn_s)
    last, cpu_s = await side.audience.count(), clock.used_s
    took_s = (last.at_ns - first.at_ns) / 1e9
    updates = last.updates - first.updates
    side.churns.append({"updates_per_s": updates / took_s, "cpu_s": cpu_s, "took_s": took_s, "updates": updates})
    side.has_fallen_behind = not await _has_all(side.audience, first, changes * side.audience.size, plan.catch_up_s)
    if side.has_fallen_behind:
        side.contender.stop()


async def _change_for(contender: Contender, duration_s: float) -> int:
    """Make changes at an even pace; returns how many."""
    changes = 0
    async for number, _ in pace(CHANGES_A_SECOND, _BURST, duration_s):
        contender.change(number, _BURST)
        changes = number + _BURST
    return changes


async def _has_all(audience: Audience, first: Count, wanted: int, catch_up_s: float) -> bool:
    # A read may end within an update, which then is not counted.
    enough = wanted * 0.999
    try:
        async with asyncio.timeout(catch_up_s):
            while (await audience.count()).updates - first.updates < enough:
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
        "undelivered": side.undelivered,
        "updates_per_s": updates / took_s,
        "updates_per_cpu_s": updates / cpu_s if cpu_s else None,
        "cpu_share": cpu_s / took_s,
        "fell_behind": side.has_fallen_behind,
    }
