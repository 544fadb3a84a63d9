"""Runs tasks that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_until_first_exit(*parts: Coroutine[Any, Any, None]) -> None:
    """Run ``parts`` until the first of them ends, cancel the others, and raise the first one's exception.

    Unlike a TaskGroup it raises the exception itself, and leaves the cancellation count unchanged, which on Python 3.11
    stays wrong after a group has failed.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
