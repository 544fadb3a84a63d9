"""The access log: one line for each request, off by default (``logging.access``).

A line has no query string and no header: both may contain tokens. Each request has an id, which all log lines of its handler
contain, and which the response returns as ``X-Request-ID``.
"""

from __future__ import annotations

import re
import time
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.contextvars import bound_contextvars

REQUEST_ID: Final = "X-Request-ID"
_VALID_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_PATH_CHARS: Final = 300
_CLOSED_BY_CLIENT: Final = 499
"""The status of nginx for a client that closed the connection before the response was complete."""

log = structlog.get_logger()


def log_requests(listener: str) -> Middleware:
    """Return the middleware that logs the requests of a listener; it is the outermost one.

    A proxy in front may send ``X-Request-ID`` itself, so that its log and this one have the same id.
    """

    @web.middleware
    async def log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = _request_id(request)
        began_s = time.perf_counter()
        response: web.StreamResponse | None = None
        with bound_contextvars(request_id=request_id):
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = error
                raise
            finally:
                if response is not None and not response.prepared:
                    response.headers[REQUEST_ID] = request_id
                duration_ms = round((time.perf_counter() - began_s) * 1000, 1)
                _log(listener, request, response, duration_ms)
        return response

    return log_request


def _log(listener: str, request: web.Request, response: web.StreamResponse | None, duration_ms: float) -> None:
    """Log one request; ``response`` is None if the handler was cancelled or failed."""
    status, sent_bytes = _CLOSED_BY_CLIENT, 0
    if response is not None:
        status, sent_bytes = response.status, response.content_length or response.body_length
    log.info(
        "http_request",
        listener=listener,
        method=request.method,
        # Percent-encoded, so that no client writes lines of its own into the log.
        path=request.raw_path.partition("?")[0][:_MAX_PATH_CHARS],
        status=status,
        duration_ms=duration_ms,
        bytes=sent_bytes,
        client=request.remote,
    )


def _request_id(request: web.Request) -> str:
    """Return the id that the client sent, if it is short and plain, or a new one."""
    sent = request.headers.get(REQUEST_ID, "")
    return sent if _VALID_ID.fullmatch(sent) else uuid4().hex
