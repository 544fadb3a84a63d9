"""Measures the lag of the event loop: how much later than requested a pause ends, because other code blocks the loop."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import Histogram

_EVERY_S: Final = 0.5

LAG_SECONDS: Final = Histogram(
    "daarion_event_loop_lag_seconds",
    "How late the event loop ran a timer, measured twice a second: all requests and tasks of the process wait that long.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=None,
)


async def measure_event_loop_lag() -> None:
    """Measure until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        LAG_SECONDS.observe(max(0.0, loop.time() - due_s))
