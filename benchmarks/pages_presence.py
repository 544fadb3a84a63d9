"""Presence of 500 subjects that changes 1,000 times a second: the share of the page's main thread.

The service sends the changes of a tick of 50 ms in one frame. Half of the subjects are away at any time. The time of the
thread is its processor time, so that other processes do not count.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.parts.browser import Browser

from .contenders import City
from .pace import pace
from .pages_browser import Reader, other_load, start_browser
from .pages_city import AGENTS, ROOM, city_of_pages, origin

_PATHS: Final = {"room": f"/city/{ROOM}", "home": "/", "agents": "/agents", "rooms": "/city"}
_BURST: Final = 10


@dataclass(frozen=True)
class Plan:
    pages: tuple[str, ...] = tuple(_PATHS)
    changes_per_s: int = 1000
    window_s: float = 10.0
    rounds: int = 3


QUICK: Final = Plan(window_s=4.0, rounds=1)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each page: medians of all rounds."""
    samples: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    async with city_of_pages(directory, messages=200) as city, start_browser() as browser:
        for _ in range(plan.rounds):
            for page in plan.pages:
                samples[page].append(await _watch(browser, city, page, plan))
    return [
        {
            "page": page,
            "subjects": AGENTS,
            "rounds": plan.rounds,
            **{name: median(sample[name] for sample in samples[page]) for name in samples[page][0]},
        }
        for page in plan.pages
    ]


async def _watch(browser: Browser, city: City, page: str, plan: Plan) -> dict[str, float]:
    async with Reader.arriving(browser, origin(city), is_citizen=True) as reader:
        await reader.page.goto(origin(city) + _PATHS[page])
        await reader.settle()
        load = await other_load()
        before, began_s = await reader.main_thread(), time.monotonic()
        changes = 0
        async for first, _ in pace(plan.changes_per_s, _BURST, plan.window_s):
            city.change(first, _BURST)
            changes += _BURST
        work, took_s = await reader.main_thread() - before, time.monotonic() - began_s
        return {
            "changes_per_s": changes / took_s,
            "share": work.task_s / took_s,
            "script_share": work.script_s / took_s,
            "layout_share": (work.layout_s + work.style_s) / took_s,
            "other_load": load,
        }
