"""Work for somebody who waits for it, and not for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiohttp import web

T = TypeVar("T")

_LOOK_EVERY_S: Final = 0.25


async def cancel_on_disconnect(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives; it is cancelled when the client hangs up. Raises ConnectionResetError then."""
    working = asyncio.create_task(work)
    try:
        # aiohttp tells nobody but who reads or writes, and before an answer has begun there is nothing to write.
        while not (await asyncio.wait([working], timeout=_LOOK_EVERY_S))[0]:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has left")
        return await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
