"""Notices that the client of a request disconnects: aiohttp reports it only to a read or write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from .limits.tcp_connection import connection_of

T = TypeVar("T")


def call_on_disconnect(request: web.Request, callback: Callable[[], None]) -> None:
    """Call ``callback`` when the client disconnects before the request ends; at once if it has disconnected already.

    On a listener without ``TcpConnections`` a later disconnect is not noticed.
    """
    connection = connection_of(request)
    if request.transport is None or request.transport.is_closing():
        callback()
    elif connection is not None:
        connection.on_lost = callback


async def cancel_on_disconnect(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, and cancel it when the client disconnects.

    Raises:
        ConnectionResetError: the client has disconnected; also every exception of ``work``.
    """
    working, disconnected = asyncio.create_task(work), asyncio.Event()
    call_on_disconnect(request, disconnected.set)
    waiting = asyncio.create_task(disconnected.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionResetError("the client has disconnected")
        return await working
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
