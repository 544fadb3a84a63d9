"""Cancels the generation of a reply when its request is deleted or edited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

_LOOK_S: Final = 2.0
"""How often to check the request without an event, in seconds: a process may miss an event."""

T = TypeVar("T")


class RequestDeleted(Exception):
    """The author deleted the request, or edited it so that it no longer mentions the agent."""


class RequestEdited(Exception):
    """The text of the request differs from the one that the agents core received."""


async def cancel_on_change(
    work: Coroutine[Any, Any, T], changed: asyncio.Event, check: Callable[[], Awaitable[None]]
) -> T:
    """Return the result of ``work``, or cancel it and raise what ``check`` raises.

    Args:
        work: runs as a task of its own.
        changed: set when a check may be due; a check also runs every other second.
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
