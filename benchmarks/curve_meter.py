"""Measures the cost of one unit of work: processor time of the server, and the time until its response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from daarion_appservice.demo.child_processes import Child

from .figures import percentile
from .processes import CpuClock

_QUIET_SHARE: Final = 0.1
_QUIET_TURNS: Final = 120
IDLE_S: Final = 3.0


@dataclass
class Curve:
    """One operation on servers of one size.

    Attributes:
        size: the number of subjects, rooms, messages or sockets.
        what: the operation and its unit.
        who: the server, as tables name it.
        once: does the work with a number that rises with each call; returns how many units it was.
        times: the calls in one round.
    """

    size: int
    what: str
    who: str
    child: Child
    once: Callable[[int], Awaitable[float]]
    times: int
    _units: float = 0.0
    _cpu_s: float = 0.0
    _calls: int = 0
    _took_ms: list[float] = field(default_factory=list)

    async def round(self) -> None:
        clock = CpuClock.of(self.child)
        for _ in range(self.times):
            began_s = time.perf_counter()
            self._units += await self.once(self._calls)
            self._took_ms.append((time.perf_counter() - began_s) * 1000)
            self._calls += 1
        self._cpu_s += clock.used_s

    def begin(self) -> None:
        """Discard the measurements so far."""
        self._units = self._cpu_s = 0.0
        self._took_ms.clear()

    def figures(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "what": self.what,
            "who": self.who,
            "cpu_us": self._cpu_s / self._units * 1e6,
            "p50_ms": percentile(self._took_ms, 50),
            "p99_ms": percentile(self._took_ms, 99),
        }


async def measure_in_turns(curves: Sequence[Curve], rounds: int) -> list[dict[str, Any]]:
    """Measure all curves in turns, after one round that is not measured; return a row for each."""
    for curve in curves:
        await curve.round()
        curve.begin()
    for _ in range(rounds):
        for curve in curves:
            await curve.round()
    return in_order([curve.figures() for curve in curves])


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one operation together, by server and size."""
    order = {row["what"]: number for number, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: (order[row["what"]], row["who"], row["size"]))


async def pause(_number: int) -> float:
    """Wait; return the time in seconds: the cost of a second without requests."""
    await asyncio.sleep(IDLE_S)
    return IDLE_S


async def is_quiet(child: Child) -> None:
    """Wait until a server that has just started works no more, for at most two minutes."""
    for _ in range(_QUIET_TURNS):
        clock = CpuClock.of(child)
        await asyncio.sleep(1)
        if clock.used_s < _QUIET_SHARE:
            return
