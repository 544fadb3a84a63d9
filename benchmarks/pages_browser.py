"""Chromium as a reader of pages: networks and processors that are slower than this machine's, and the time of the main thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import psutil
from playwright.async_api import CDPSession, Page

from tests.parts.browser import Browser, start_browser

from .pages_city import citizen_token

__all__ = ["SLOW_4G", "MainThread", "Network", "Reader", "other_load", "start_browser"]

SETTLED_S: Final = 4.5
"""After this time a page has loaded the other pages ahead, which it begins after three seconds."""
_VIEWPORT: Final = {"width": 1440, "height": 900}


@dataclass(frozen=True)
class Network:
    """A network that Chromium emulates: the latency is that of each response."""

    mbit_per_s: float
    latency_ms: float


SLOW_4G: Final = Network(mbit_per_s=1.6, latency_ms=150)


@dataclass(frozen=True)
class MainThread:
    """What the main thread of a page has done since the page was opened, in seconds."""

    task_s: float
    script_s: float
    layout_s: float
    style_s: float

    def __sub__(self, before: MainThread) -> MainThread:
        return MainThread(
            self.task_s - before.task_s,
            self.script_s - before.script_s,
            self.layout_s - before.layout_s,
            self.style_s - before.style_s,
        )

    def figures(self, per: float = 1.0) -> dict[str, float]:
        """Return the figures of a row in milliseconds, each divided by ``per``."""
        return {
            "task_ms": self.task_s * 1000 / per,
            "script_ms": self.script_s * 1000 / per,
            "layout_ms": (self.layout_s + self.style_s) * 1000 / per,
        }


@dataclass(frozen=True)
class Reader:
    """A page that somebody reads, with the DevTools of its browser."""

    page: Page
    _devtools: CDPSession

    @classmethod
    @asynccontextmanager
    async def arriving(
        cls, browser: Browser, origin: str, *, is_citizen: bool, script: str = ""
    ) -> AsyncIterator[Self]:
        """Open an empty page with an empty cache.

        Args:
            is_citizen: the reader is signed in.
            script: runs in each document before its own scripts.
        """
        session: Any = [{"name": "city.session", "value": citizen_token("u_reader", "Читачка")}] if is_citizen else []
        profile = await browser.other_profile(
            locale="uk-UA",
            viewport=_VIEWPORT,
            storage_state={"cookies": [], "origins": [{"origin": origin, "localStorage": session}]},
        )
        page = (await profile.open("about:blank")).page
        try:
            if script:
                await page.add_init_script(script)
            devtools = await page.context.new_cdp_session(page)
            await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
            yield cls(page, devtools)
        finally:
            await profile.kill()

    async def slow_down(self, network: Network | None, cpu_factor: int) -> None:
        """Emulate a network and a processor that is ``cpu_factor`` times slower than this machine's."""
        await self._devtools.send("Network.enable")
        if network is not None:
            bytes_per_s = network.mbit_per_s * 1_000_000 / 8
            conditions = {
                "offline": False,
                "latency": network.latency_ms,
                "downloadThroughput": bytes_per_s,
                "uploadThroughput": bytes_per_s,
            }
            await self._devtools.send("Network.emulateNetworkConditions", conditions)
        await self._devtools.send("Emulation.setCPUThrottlingRate", {"rate": cpu_factor})

    async def main_thread(self) -> MainThread:
        """Return what the main thread has done so far, in its own processor time: other processes do not count."""
        answer = await self._devtools.send("Performance.getMetrics")
        value = {metric["name"]: metric["value"] for metric in answer["metrics"]}
        return MainThread(
            value["TaskDuration"], value["ScriptDuration"], value["LayoutDuration"], value["RecalcStyleDuration"]
        )

    async def settle(self) -> None:
        """Wait until the page has loaded what it loads ahead."""
        await asyncio.sleep(SETTLED_S)


async def other_load() -> float:
    """Return the share of all processors that other processes use, measured for half a second before a measurement."""
    return await asyncio.to_thread(psutil.cpu_percent, 0.5) / 100
