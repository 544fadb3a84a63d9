"""Loading of a page with an empty cache: largest contentful paint (LCP), layout shifts (CLS) and bytes of JavaScript.

Each round opens a new browser context, on the network and the processor of this machine and on slower ones that Chromium
emulates. Only JavaScript that began to load before the LCP counts.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.parts.browser import Browser

from .contenders import slug
from .pages_browser import SLOW_4G, Network, Reader, other_load, start_browser
from .pages_city import ROOM, city_of_pages, origin

_PAGES: Final = {"home": "/", "rooms": "/city", "room": f"/city/{ROOM}", "agent": f"/agents/{slug(0)}"}

_OBSERVE: Final = """
window.benchmark = {lcp: 0, cls: 0};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) benchmark.lcp = Math.max(benchmark.lcp, entry.startTime);
}).observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) benchmark.cls += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""

_READ: Final = """() => {
  const scripts = performance.getEntriesByType("resource")
    .filter(({name, startTime}) => name.endsWith(".js") && startTime <= benchmark.lcp);
  return {
    lcp_ms: benchmark.lcp,
    cls: benchmark.cls,
    js_bytes: scripts.reduce((sum, script) => sum + script.encodedBodySize, 0),
  };
}"""


@dataclass(frozen=True)
class Conditions:
    name: str
    network: Network | None
    cpu_factor: int
    watched_s: float
    """How long the page is watched after its document has loaded, in seconds."""


@dataclass(frozen=True)
class Plan:
    conditions: tuple[Conditions, ...] = (
        Conditions("fast", None, 1, 2.0),
        Conditions("slow4g", SLOW_4G, 1, 3.0),
        Conditions("slow4g_cpu4", SLOW_4G, 4, 4.0),
    )
    pages: tuple[str, ...] = tuple(_PAGES)
    rounds: int = 5
    messages: int = 200


QUICK: Final = Plan(rounds=2)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each page and each of the conditions: medians of all rounds."""
    samples: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    async with city_of_pages(directory, messages=plan.messages) as city, start_browser() as browser:
        for _ in range(plan.rounds):
            for conditions in plan.conditions:
                for page in plan.pages:
                    sample = await _load(browser, origin(city), page, conditions)
                    samples[page, conditions.name].append(sample)
    return [
        {"page": page, "conditions": conditions.name, "rounds": plan.rounds, **_medians(samples[page, conditions.name])}
        for page in plan.pages
        for conditions in plan.conditions
    ]


async def _load(browser: Browser, at: str, page: str, conditions: Conditions) -> dict[str, float]:
    load = await other_load()
    async with Reader.arriving(browser, at, is_citizen=False, script=_OBSERVE) as reader:
        await reader.slow_down(conditions.network, conditions.cpu_factor)
        await reader.page.goto(at + _PAGES[page], wait_until="load")
        await asyncio.sleep(conditions.watched_s)
        figures: dict[str, float] = await reader.page.evaluate(_READ)
        return figures | (await reader.main_thread()).figures() | {"other_load": load}


def _medians(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(sample[name] for sample in samples) for name in samples[0]}
