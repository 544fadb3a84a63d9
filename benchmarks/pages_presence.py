"""Presence of 500 subjects that changes 1,000 times a second: the share of the page's main thread.

The subjects are online and away in turns, or come and go. The service sends the changes of a tick of 50 ms in one frame. The
time of the thread is its processor time, so that other processes do not count.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from tests.parts.browser import Browser

from . import wire
from .contenders import SERVICE_TOKEN, City, slug
from .pace import pace
from .pages_browser import Reader, other_load, start_browser
from .pages_city import AGENTS, ROOM, city_of_pages, origin

_PATHS: Final = {"room": f"/city/{ROOM}", "home": "/", "agents": "/agents", "rooms": "/city"}
_BURST: Final = 10


@dataclass(frozen=True)
class Plan:
    pages: tuple[str, ...] = tuple(_PATHS)
    changes: tuple[str, ...] = ("away", "offline")
    """The status that takes turns with online."""
    changes_per_s: int = 1000
    window_s: float = 10.0
    rounds: int = 3


QUICK: Final = Plan(window_s=4.0, rounds=1)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each page and kind of change: medians of all rounds."""
    samples: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    async with city_of_pages(directory, messages=200) as city, start_browser() as browser:
        line = await wire.HttpConnection.open(city.port)
        try:
            for _ in range(plan.rounds):
                for page in plan.pages:
                    for status in plan.changes:
                        sample = await _watch(browser, city, line, page, status, plan)
                        samples[page, status].append(sample)
        finally:
            line.transport.abort()
    return [
        {
            "page": page,
            "status": status,
            "subjects": AGENTS,
            "rounds": plan.rounds,
            **{name: median(sample[name] for sample in taken) for name in taken[0]},
        }
        for (page, status), taken in samples.items()
    ]


async def _watch(
    browser: Browser, city: City, line: wire.HttpConnection, page: str, status: str, plan: Plan
) -> dict[str, float]:
    async with Reader.arriving(browser, origin(city), is_citizen=True) as reader:
        await reader.page.goto(origin(city) + _PATHS[page])
        await reader.settle()
        load = await other_load()
        before, began_s = await reader.main_thread(), time.monotonic()
        changes = 0
        async for first, _ in pace(plan.changes_per_s, _BURST, plan.window_s):
            line.post("/api/v1/agents/heartbeats", _heartbeats(first, status), SERVICE_TOKEN)
            changes += _BURST
        work, took_s = await reader.main_thread() - before, time.monotonic() - began_s
        return {
            "changes_per_s": changes / took_s,
            "share": work.task_s / took_s,
            "script_share": work.script_s / took_s,
            "layout_share": (work.layout_s + work.style_s) / took_s,
            "other_load": load,
        }


def _heartbeats(first: int, status: str) -> bytes:
    """Return changes of the next subjects: each has the other status in every second turn of all subjects."""
    numbers = range(first, first + _BURST)
    beats = [
        {"agent_id": slug(number % AGENTS), "status": "online" if number // AGENTS % 2 else status}
        for number in numbers
    ]
    return orjson.dumps({"heartbeats": beats})
