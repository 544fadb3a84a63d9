"""Key strokes in search fields over hundreds of agents: the time until the browser has painted after each.

The keys are real ones, ten a second as a fast typist presses them; the time begins with the event's own time, so a stroke
that waits for an earlier one pays for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from playwright.async_api import Locator, Page

from tests.parts.browser import Browser

from .figures import percentile
from .pages_browser import Reader, other_load, start_browser
from .pages_city import ROOM, city_of_pages, origin

_WORDS: Final = "agent 49"
STROKES: Final = 2 * len(_WORDS)
"""The words are typed and deleted."""
_KEY_INTERVAL_S: Final = 0.1

_OBSERVE: Final = """
window.strokes = [];
addEventListener("keydown", (event) => {
  requestAnimationFrame(() => {
    const painted = new MessageChannel();
    painted.port1.onmessage = () => strokes.push(performance.now() - event.timeStamp);
    painted.port2.postMessage(null);
  });
}, {capture: true});
"""


@dataclass(frozen=True)
class Plan:
    cpu_factors: tuple[int, ...] = (1, 4)
    fields: tuple[str, ...] = ("agents", "rooms", "pane", "palette")
    rounds: int = 5


QUICK: Final = Plan(rounds=2)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each search field and processor."""
    strokes: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    rest: defaultdict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    async with city_of_pages(directory, messages=50) as city, start_browser() as browser:
        for _ in range(plan.rounds):
            for field in plan.fields:
                for factor in plan.cpu_factors:
                    took_ms, others = await _type(browser, origin(city), field, factor)
                    strokes[field, factor] += took_ms
                    rest[field, factor].append(others)
    return [
        {
            "field": field,
            "cpu_factor": factor,
            "strokes": len(strokes[field, factor]),
            "p50_ms": percentile(strokes[field, factor], 50),
            "p95_ms": percentile(strokes[field, factor], 95),
            **{name: median(each[name] for each in rest[field, factor]) for name in rest[field, factor][0]},
        }
        for field in plan.fields
        for factor in plan.cpu_factors
    ]


async def _type(browser: Browser, at: str, field: str, cpu_factor: int) -> tuple[list[float], dict[str, float]]:
    async with Reader.arriving(browser, at, is_citizen=True, script=_OBSERVE) as reader:
        search_field = await _opened(reader.page, at, field)
        await reader.settle()
        await reader.slow_down(None, cpu_factor)
        load = await other_load()
        await reader.page.evaluate("strokes.length = 0")
        before = await reader.main_thread()
        for key in (*_WORDS, *["Backspace"] * len(_WORDS)):
            await search_field.press(key, no_wait_after=True)
            await asyncio.sleep(_KEY_INTERVAL_S)
        work = await reader.main_thread() - before
        return await reader.page.evaluate("strokes"), work.figures(per=STROKES) | {"other_load": load}


async def _opened(page: Page, at: str, field: str) -> Locator:
    """Open the page with a search field and return the field."""
    if field == "palette":
        await page.goto(f"{at}/city/{ROOM}")
        await page.locator("[role=log] article").first.wait_for()
        await page.keyboard.press("Control+k")
        return page.locator("dialog input[role=combobox]")
    region = "nav" if field == "pane" else "#main"
    await page.goto(at + ("/agents" if field == "agents" else "/city"))
    return page.locator(f"{region} input[type=search]")
