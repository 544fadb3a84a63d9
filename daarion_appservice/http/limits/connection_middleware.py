"""The middlewares that tell ``TcpConnections`` when a request begins and ends, and enforce its limits."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .tcp_connection import TcpConnection, connection_of
from .tcp_connections import TcpConnections


def track_requests(connections: TcpConnections) -> Middleware:
    """Return the outermost middleware, which notes when a request begins and when its handler ends."""

    @web.middleware
    async def track(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = connection_of(request)
        if connection is None:
            return await handler(request)
        connections.begin_request(connection, request)
        try:
            return await handler(request)
        finally:
            connections.end_request(connection)

    return track


def enforce_limits(connections: TcpConnections) -> Middleware:
    """Return the middleware that refuses requests of a client with too many open responses or request bytes.

    It runs inside the error middleware.
    """

    @web.middleware
    async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = connection_of(request)
        if connection is None:
            return await handler(request)
        connections.check_request(connection)
        if connection.is_body_complete:
            # The handler may have changed something, so a refusal does not interrupt it.
            return await handler(request)
        return await _interruptible(connection, request, handler)

    return enforce


async def _interruptible(connection: TcpConnection, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Run the handler; raise ``connection.refusal`` if the connection is refused before the body is complete."""
    try:
        async with asyncio.timeout(None) as connection.handler_timeout:
            return await handler(request)
    except TimeoutError:
        if connection.refusal is None:
            raise
    finally:
        connection.handler_timeout = None
    # After the `except` block: else TimeoutError is the context of this error, and its traceback holds the frame that
    # has read the body, as long as the connection is open.
    raise connection.refusal
