"""An open-loop load generator: requests are due at a constant rate, independently of earlier responses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator


async def pace(per_s: float, burst: int, duration_s: float) -> AsyncIterator[tuple[int, float]]:
    """Yield the number of the first request of each burst and when it is due, on ``time.monotonic``.

    Args:
        per_s: requests per second.
        burst: requests that are sent together.
        duration_s: the iteration ends after this time.
    """
    began_s = time.monotonic()
    done = 0
    while (after_s := done / per_s) < duration_s:
        await asyncio.sleep(began_s + after_s - time.monotonic())
        yield done, began_s + after_s
        done += burst
    await asyncio.sleep(began_s + duration_s - time.monotonic())
