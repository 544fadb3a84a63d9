"""Typing of others in a room of which all messages are loaded: long tasks of the page and the time of its main thread."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.parts.browser import Browser

from . import wire
from .contenders import City
from .pages_browser import MainThread, Reader, other_load, start_browser
from .pages_city import ROOM, citizen_token, city_of_pages, origin

_LONG_TASK_MS: Final = 50
_CHANGE_INTERVAL_S: Final = 0.25

_OBSERVE: Final = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) longTasks.push(entry.duration);
}).observe({type: "longtask"});
"""

_LOAD_ALL: Final = """async (words) => {
  const log = document.querySelector("[role=log]");
  const end = performance.now() + 300_000;
  while (!log.textContent.includes(words)) {
    if (performance.now() > end) throw new Error("the messages are not loaded after five minutes");
    log.scrollTop = log.scrollTop > 300 ? 200 : 0;
    log.dispatchEvent(new Event("scroll"));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  log.scrollTop = log.scrollHeight;
}"""


@dataclass(frozen=True)
class Plan:
    messages: int = 10_000
    changes: int = 20
    rounds: int = 5


QUICK: Final = Plan(messages=2_000, rounds=2)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return one row: medians of all rounds, on one page."""
    samples = []
    async with city_of_pages(directory, messages=plan.messages) as city, start_browser() as browser:
        path = f"/ws/city/rooms/{ROOM}?token={citizen_token('u_writer', 'Писарка')}"
        socket = await wire.Socket.open(city.port, wire.upgrade(path), lambda _frame: None)
        try:
            samples = await _rounds(browser, city, socket, plan)
        finally:
            socket.transport.abort()
    medians = {name: median(sample[name] for sample in samples) for name in samples[0]}
    return [{"messages": plan.messages, "changes": plan.changes, "rounds": plan.rounds, **medians}]


async def _rounds(browser: Browser, city: City, socket: wire.Socket, plan: Plan) -> list[dict[str, float]]:
    async with Reader.arriving(browser, origin(city), is_citizen=True, script=_OBSERVE) as reader:
        await reader.page.goto(f"{origin(city)}/city/{ROOM}")
        await reader.page.locator("[role=log] article").first.wait_for()
        await reader.page.evaluate(_LOAD_ALL, "Початок розмови")
        await reader.settle()
        return [await _round(reader, socket, plan) for _ in range(plan.rounds)]


async def _round(reader: Reader, socket: wire.Socket, plan: Plan) -> dict[str, float]:
    load = await other_load()
    await reader.page.evaluate("longTasks.length = 0")
    before = await reader.main_thread()
    for number in range(plan.changes):
        socket.say(b'{"event":"city.room.typing","typing":%b}' % (b"false" if number % 2 else b"true"))
        await asyncio.sleep(_CHANGE_INTERVAL_S)
    work: MainThread = await reader.main_thread() - before
    tasks: list[float] = await reader.page.evaluate("longTasks")
    return {
        "long_tasks": sum(task >= _LONG_TASK_MS for task in tasks),
        "longest_ms": max(tasks, default=0.0),
        "other_load": load,
        **work.figures(per=plan.changes),
    }
