"""The header ``Expect`` (RFC 9110 §10.1.1): what is not ``100-continue`` is answered 417.

aiohttp does the same before any middleware of ours, but repeats the header in its answer, and fails (500) where that is no UTF-8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import hdrs, web

_CONTINUE: Final = "100-continue"

Handle = Callable[[Any], Awaitable[web.StreamResponse]]


def reject_unknown_expectations(runner: web.AppRunner) -> None:
    """Put the check before everything that ``runner``, which was set up, does with a request."""
    server = runner.server
    assert server is not None
    server.request_handler = _checked(server.request_handler)


def _checked(handler: Handle) -> Handle:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, _CONTINUE).lower() != _CONTINUE:
            return web.Response(status=417, text=f"the only expectation that is met here is {_CONTINUE}")
        return await handler(request)

    return handle
