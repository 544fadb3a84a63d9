"""An even pace, kept whatever becomes of what was done before: load does not wait for the loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator


async def pace(per_s: float, burst: int, duration_s: float) -> AsyncIterator[tuple[int, float]]:
    """``burst`` at a time: the number of the first, and when it was due on ``time.monotonic``; ends after ``duration_s``."""
    began_s = time.monotonic()
    done = 0
    while (after_s := done / per_s) < duration_s:
        await asyncio.sleep(began_s + after_s - time.monotonic())
        yield done, began_s + after_s
        done += burst
    await asyncio.sleep(began_s + duration_s - time.monotonic())
