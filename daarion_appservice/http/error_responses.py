"""Translates exceptions into responses: RFC 9457 problems on the city listener, Matrix errors on the matrix listener."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import ClientConnectionError, web
from aiohttp.typedefs import Handler, Middleware

from ..errors import CityError, DatabaseUnavailable, TooManyRequests, Unavailable
from .database_errors import DATABASE_UNAVAILABLE
from .routing import json_response
from .validation import ValidationErrors

log = structlog.get_logger()

_INTERNAL_ERROR: Final = "an internal error; the log has the details"


def _error_middleware(respond: Callable[[web.Request, Exception], web.StreamResponse]) -> Middleware:
    """Return the middleware that translates every exception of a handler with ``respond``."""

    @web.middleware
    async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:
            if _is_disconnected(request, error):
                return web.Response(status=499)  # the connection is closed, so no client reads it
            if request.writer.output_size > 0:
                # A response has begun, and a second one must not follow within it: aiohttp logs the error and closes.
                raise
            return respond(request, error)

    return translate_errors


def _is_disconnected(request: web.Request, error: Exception) -> bool:
    is_gone = request.transport is None or request.transport.is_closing()
    return is_gone and isinstance(error, (ConnectionError, TimeoutError, ClientConnectionError))


def problem_response(request: web.Request, error: Exception) -> web.Response:
    """Return the problem document of an exception, and log exceptions that are faults of the server.

    Raises:
        web.HTTPException: ``error`` itself, if it is a redirect or another status below 400.
    """
    match error:
        case ValidationErrors():
            return _problem(error.status, error.code, error.detail, error.errors)
        case CityError():
            return _problem(error.status, error.code, error.detail, headers=_retry_after(error))
        case web.HTTPException() if error.status < 400:
            raise error
        case web.HTTPException():
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            # Only the CORS preflight handler raises HTTPForbidden; its text contains the reason.
            detail = (error.text if error.status == 403 else None) or error.reason
            return _problem(error.status, _CODES.get(error.status, "http_error"), detail, headers=allow)
    if _is_database_unavailable(request, error):
        return _problem(503, "database_unavailable", DATABASE_UNAVAILABLE)
    return _problem(500, "internal_error", _INTERNAL_ERROR)


def _matrix_error(request: web.Request, error: Exception) -> web.StreamResponse:
    match error:
        case CityError():
            return _matrix(error.status, _errcode(error), error.detail, headers=_retry_after(error))
        case web.HTTPException() if error.status < 400 or error.content_type == "application/json":
            raise error
        case web.HTTPException():
            # No handler raises HTTPNotFound, so a 404 means an unknown route.
            errcode = "M_UNRECOGNIZED" if error.status == 404 else _ERRCODES_BY_STATUS.get(error.status, "M_UNKNOWN")
            return _matrix(error.status, errcode, error.reason)
    if _is_database_unavailable(request, error):
        return _matrix(503, "M_UNKNOWN", DATABASE_UNAVAILABLE)
    return _matrix(500, "M_UNKNOWN", _INTERNAL_ERROR)


def _is_database_unavailable(request: web.Request, error: Exception) -> bool:
    """Return whether the database is unavailable, and log the error; every other error is a fault of the server."""
    if isinstance(error, DatabaseUnavailable):
        log.error("request_without_database", error=str(error), help="responses are 503 until the database responds")
        return True
    log.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return False


_CODES: Final = {
    400: "bad_request",
    403: "preflight_refused",
    404: "no_such_route",
    405: "method_not_allowed",
    413: "body_too_large",
}

_ERRCODES_BY_CODE: Final = {"not_json": "M_NOT_JSON", "token_invalid": "M_UNKNOWN_TOKEN"}
"""The error codes of the city that have their own Matrix error code, in place of the one of their status."""

_ERRCODES_BY_STATUS: Final = {
    401: "M_MISSING_TOKEN",
    403: "M_FORBIDDEN",
    404: "M_NOT_FOUND",
    405: "M_UNRECOGNIZED",
    408: "M_UNKNOWN",
    413: "M_TOO_LARGE",
    421: "M_FORBIDDEN",
    429: "M_LIMIT_EXCEEDED",
    503: "M_UNKNOWN",
}


def _errcode(error: CityError) -> str:
    if isinstance(error, ValidationErrors):
        return "M_BAD_JSON"
    return _ERRCODES_BY_CODE.get(error.code) or _ERRCODES_BY_STATUS.get(error.status, "M_INVALID_PARAM")


def _problem(
    status: int,
    code: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    *,
    headers: dict[str, str] | None = None,
) -> web.Response:
    content: dict[str, Any] = {
        "type": f"urn:daarion:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        content["errors"] = errors
    if status == 401:
        headers = {"WWW-Authenticate": 'Bearer realm="city"'} | (headers or {})
    return json_response(content, status=status, content_type="application/problem+json", headers=headers)


def _matrix(status: int, errcode: str, error: str, *, headers: dict[str, str] | None = None) -> web.Response:
    return json_response({"errcode": errcode, "error": error}, status=status, headers=headers)


def _retry_after(error: CityError) -> dict[str, str] | None:
    """Return the Retry-After header in whole seconds (RFC 9110 §10.2.3), rounded up."""
    seconds = error.retry_after_s if isinstance(error, TooManyRequests | Unavailable) else None
    return None if seconds is None else {"Retry-After": str(math.ceil(seconds))}


problem_middleware: Final = _error_middleware(problem_response)
"""Translates every exception of a handler into ``application/problem+json`` with a stable ``code``."""

matrix_error_middleware: Final = _error_middleware(_matrix_error)
"""Translates every exception of a handler into a Matrix error, ``{"errcode", "error"}``."""
