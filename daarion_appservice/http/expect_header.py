"""Refuses requests whose header ``Expect`` is not ``100-continue`` with 417 (RFC 9110 §10.1.1).

aiohttp does the same before any middleware, but repeats the header in its response, and fails (500) if it is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import hdrs, web

_CONTINUE: Final = "100-continue"

_RequestHandler = Callable[[Any], Awaitable[web.StreamResponse]]


def reject_unknown_expectations(runner: web.AppRunner) -> None:
    """Check ``Expect`` before all other request handling of ``runner``, whose ``setup`` has completed."""
    server = runner.server
    assert server is not None
    server.request_handler = _checked(server.request_handler)


def _checked(handler: _RequestHandler) -> _RequestHandler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, _CONTINUE).lower() != _CONTINUE:
            return web.Response(status=417, text=f"unsupported expectation; only {_CONTINUE} is supported")
        return await handler(request)

    return handle
