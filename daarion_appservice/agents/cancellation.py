"""Ends the work on an answer when its question is deleted or edited meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

_LOOK_S: Final = 2.0
"""How often to look at the question even if no event told of a change: a process may miss one."""

T = TypeVar("T")


class RequestDeleted(Exception):
    """Whoever asked deleted the question, or edited it so that it asks another."""


class RequestEdited(Exception):
    """The question says something else than what the agents core was asked."""


async def cancel_on_change(
    work: Coroutine[Any, Any, T], changed: asyncio.Event, check: Callable[[], Awaitable[None]]
) -> T:
    """Return what ``work`` returns, or cancel it and raise what ``check`` raises.

    Args:
        work: runs as a task of its own.
        changed: set when it may be time to check, which is also done every other second.
        check: raises RequestDeleted or RequestEdited.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            changed.clear()
            waiting = asyncio.create_task(changed.wait())
            await asyncio.wait({task, waiting}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                await check()
        return await task
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
