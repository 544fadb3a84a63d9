"""Tasks that belong together: when one of them ends, so do the others."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_until_first_exit(*parts: Coroutine[Any, Any, None]) -> None:
    """Run ``parts`` until the first of them ends, end the others, and raise what it raised.

    Unlike a TaskGroup it raises the error itself, and leaves no trace of it in the counts of cancellations, which on
    Python 3.11 stay wrong after a group has failed.
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
