"""Runs loops of the service as tasks in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running_tasks(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run each loop in a task inside the block, and cancel the tasks after it; no loop may end before."""
    tasks = [asyncio.create_task(loop()) for loop in loops]
    try:
        yield
        assert not [task for task in tasks if task.done()], "a loop has ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
