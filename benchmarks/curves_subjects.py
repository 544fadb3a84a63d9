"""Cost curves over subjects: heartbeats, changes, a second without requests, and the start."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from . import wire
from .contenders import SERVICE_TOKEN, City, slug
from .curve_meter import Curve, is_quiet, measure_in_turns, pause
from .processes import CpuClock

_PATH: Final = "/api/v1/agents/heartbeats"
_BULK: Final = 100
_CHANGES: Final = 10
_WATCHERS: Final = 10


@dataclass(frozen=True)
class Plan:
    subjects: tuple[int, ...] = (1_000, 10_000, 100_000)
    requests: int = 100
    rounds: int = 4


QUICK: Final = Plan(subjects=(200, 2_000), requests=20, rounds=2)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each operation and number of subjects."""
    async with AsyncExitStack() as stack:
        curves: list[Curve] = []
        starts: list[dict[str, Any]] = []
        for subjects in plan.subjects:
            home = directory / str(subjects)
            home.mkdir(parents=True)
            city = City(home, agents=subjects)
            stack.callback(city.stop)
            await city.start()
            starts.append(_start_of(city, subjects))
            curves += await _curves(city, subjects, plan.requests, stack)
        return await measure_in_turns(curves, plan.rounds) + starts


def _start_of(city: City, subjects: int) -> dict[str, Any]:
    cpu_us = CpuClock(city.child, 0.0).used_s / subjects * 1e6
    return {
        "size": subjects,
        "what": "start, a subject",
        "who": city.key,
        "cpu_us": cpu_us,
        "p50_ms": city.start_s * 1000,
        "p99_ms": None,
    }


async def _curves(city: City, subjects: int, requests: int, stack: AsyncExitStack) -> list[Curve]:
    for _ in range(_WATCHERS):
        watcher = await wire.Socket.open(city.port, city.request(), _ignore)
        stack.callback(watcher.transport.abort)
    line = wire.Line(city.port)
    stack.callback(line.close)

    async def beat(number: int) -> float:
        first = number * _BULK % subjects
        beats = [{"agent_id": slug((first + each) % subjects), "status": "online"} for each in range(_BULK)]
        await _post(line, beats)
        return _BULK

    async def change(number: int) -> float:
        first = number * _CHANGES % subjects
        status = "away" if number * _CHANGES // subjects % 2 == 0 else "online"
        await _post(line, [{"agent_id": slug((first + each) % subjects), "status": status} for each in range(_CHANGES)])
        return _CHANGES

    for number in range(0, subjects, _BULK):
        await beat(number // _BULK)
    await is_quiet(city.child)
    return [
        Curve(subjects, "heartbeat without a change", city.key, city.child, beat, requests),
        Curve(subjects, "change of a status", city.key, city.child, change, requests),
        Curve(subjects, "second without requests", city.key, city.child, pause, 1),
    ]


async def _post(line: wire.Line, beats: list[dict[str, str]]) -> None:
    status = await line.ask(wire.request("POST", _PATH, orjson.dumps({"heartbeats": beats}), SERVICE_TOKEN))
    if status != 200:
        raise RuntimeError(f"heartbeats were answered with {status}")


def _ignore(_data: bytes) -> None:
    """Ignore the bytes that a watching socket receives."""
