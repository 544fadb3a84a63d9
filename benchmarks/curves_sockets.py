"""Cost curves over WebSockets: a lone change, other requests meanwhile, and a second without changes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import wire
from .audience import ReaderProcess
from .contenders import City, Contender, Floor
from .curve_meter import in_order, pause
from .figures import percentile
from .processes import CpuClock, rss_mib

_AGENTS: Final = 1000
_SOCKETS_OF_ONE: Final = 5_000
"""WebSockets of one reading process."""
_ARRIVAL_S: Final = 20.0
_PROBE_S: Final = 0.002
_PAUSE_S: Final = 0.1
"""Between two changes: longer than the tick, in which changes are collected."""


@dataclass(frozen=True)
class Plan:
    sockets: tuple[int, ...] = (100, 1_000, 10_000)
    changes: int = 10
    rounds: int = 4


QUICK: Final = Plan(sockets=(50, 200), changes=3, rounds=2)


@dataclass
class _Audience:
    """A server with its WebSockets, and a connection that requests something else during a change."""

    server: Contender
    readers: list[ReaderProcess]
    probe: wire.Line | None
    kib_a_socket: float
    arrived_ms: list[float] = field(default_factory=list)
    probed_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    idle_cpu_s: float = 0.0
    idle_s: float = 0.0
    _number: int = 0

    @property
    def size(self) -> int:
        return sum(readers.size for readers in self.readers)

    async def round(self, changes: int) -> None:
        """Make lone changes, then as many with other requests meanwhile, then none for a few seconds."""
        if isinstance(self.server, City):
            await self.server.be_ready()
        for _ in range(changes):
            self.arrived_ms += await self._change(probe=None)
        if self.probe is not None:
            for _ in range(changes):
                await self._change(self.probe)
        clock = CpuClock.of(self.server.child)
        self.idle_s += await pause(0)
        self.idle_cpu_s += clock.used_s

    def begin(self) -> None:
        """Discard the measurements so far."""
        self.arrived_ms.clear()
        self.probed_ms.clear()
        self.cpu_s = self.idle_cpu_s = self.idle_s = 0.0

    async def _change(self, probe: wire.Line | None) -> list[float]:
        """Change a subject; return when each socket had the frame, in milliseconds after the request."""
        await asyncio.sleep(_PAUSE_S)
        self._number += 1
        for readers in self.readers:
            await readers.expect()
        clock, began_ns = CpuClock.of(self.server.child), time.monotonic_ns()
        self.server.change(self._number, 1)
        arrivals = asyncio.gather(*(readers.arrivals_ns(_ARRIVAL_S) for readers in self.readers))
        while probe is not None and not arrivals.done():
            await self._probe(probe)
        arrived = [at_ns for each in await arrivals for at_ns in each]
        if len(arrived) < self.size:
            raise RuntimeError(f"{self.server.key} sent {len(arrived)} of {self.size} frames")
        if probe is None:
            self.cpu_s += clock.used_s
        return [(at_ns - began_ns) / 1e6 for at_ns in arrived]

    async def _probe(self, probe: wire.Line) -> None:
        began_s = time.monotonic()
        await probe.ask(wire.request("GET", "/healthz"))
        self.probed_ms.append((time.monotonic() - began_s) * 1000)
        await asyncio.sleep(_PROBE_S)

    def rows(self) -> list[dict[str, Any]]:
        frames = len(self.arrived_ms)
        idle_us = self.idle_cpu_s / self.idle_s / self.size * 1e6
        return [
            self._row("frame of a lone change", self.cpu_s / frames * 1e6, self.arrived_ms),
            self._row("`GET /healthz` during a lone change", None, self.probed_ms),
            self._row("second without changes, a socket", idle_us, []),
        ]

    def _row(self, what: str, cpu_us: float | None, times_ms: list[float]) -> dict[str, Any]:
        return {
            "size": self.size,
            "what": what,
            "who": self.server.key,
            "cpu_us": cpu_us,
            "p50_ms": percentile(times_ms, 50),
            "p99_ms": percentile(times_ms, 99),
            "kib_a_socket": self.kib_a_socket,
        }


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each operation, server and number of sockets."""
    async with AsyncExitStack() as stack:
        audiences: list[_Audience] = []
        for sockets in plan.sockets:
            home = directory / str(sockets)
            home.mkdir(parents=True)
            servers: tuple[Contender, ...] = (City(home, agents=_AGENTS), Floor(home))
            audiences += [await _opened(server, sockets, home, stack) for server in servers]
        for number in range(plan.rounds + 1):
            for audience in audiences:
                if number == 1:
                    audience.begin()  # the first round, with what is loaded lazily, is not measured
                await audience.round(plan.changes)
        rows = [row for audience in audiences for row in audience.rows()]
        return in_order([row for row in rows if row["cpu_us"] is not None or row["who"] == "city"])


async def _opened(server: Contender, sockets: int, directory: Path, stack: AsyncExitStack) -> _Audience:
    stack.callback(server.stop)
    await server.start()
    await server.be_ready()
    before_mib = rss_mib(server.child)
    readers = []
    for first in range(0, sockets, _SOCKETS_OF_ONE):
        each = await ReaderProcess.start(f"{server.key}-{first}", directory)
        stack.callback(each.stop)
        await each.connect(server, [server.request() for _ in range(min(_SOCKETS_OF_ONE, sockets - first))])
        readers.append(each)
    probe = wire.Line(server.port) if isinstance(server, City) else None
    if probe is not None:
        stack.callback(probe.close)
    kib = (rss_mib(server.child) - before_mib) * 1024 / sockets
    return _Audience(server, readers, probe, kib)
