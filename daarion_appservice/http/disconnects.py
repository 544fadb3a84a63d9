"""Cancels the work for a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiohttp import web

T = TypeVar("T")

_POLL_S: Final = 0.25


async def cancel_on_disconnect(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, and cancel it when the client disconnects.

    Raises:
        ConnectionResetError: the client has disconnected; also every exception of ``work``.
    """
    working = asyncio.create_task(work)
    try:
        # aiohttp reports a disconnect only to a read or write, and there is neither before the response begins: so poll.
        while not (await asyncio.wait([working], timeout=_POLL_S))[0]:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
        return await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
