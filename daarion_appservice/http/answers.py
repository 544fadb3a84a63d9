"""How errors look from outside: RFC 9457 problems on the city listener, Matrix errors on the matrix listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web
from sqlalchemy.exc import InterfaceError, OperationalError

from ..errors import CityError
from .endpoint import Mistakes, json_response

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()

_DATABASE_AWAY: Final = (OperationalError, InterfaceError, OSError)

_OURS_TO_MEND: Final = "something went wrong on our side; it is in the log"


@web.middleware
async def problems(request: web.Request, handler: Handle) -> web.StreamResponse:
    """Whatever goes wrong becomes ``application/problem+json``, with a stable ``code``."""
    try:
        return await handler(request)
    except CityError as error:
        return _problem(error.status, error.code, error.detail, error.errors if isinstance(error, Mistakes) else None)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _problem(error.status, _CODES.get(error.status, "http_error"), error.reason, headers=headers)
    except _DATABASE_AWAY as error:
        log.error("database_away", error=str(error), help="requests are answered 503 until it is back")
        return _problem(503, "database_away", "the city's database does not answer; try again")
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _problem(500, "internal_error", _OURS_TO_MEND)


@web.middleware
async def matrix_errors(request: web.Request, handler: Handle) -> web.StreamResponse:
    """Whatever goes wrong becomes ``{"errcode", "error"}``."""
    try:
        return await handler(request)
    except CityError as error:
        return _matrix(error.status, _errcode(error), error.detail)
    except web.HTTPException as error:
        if error.status < 400 or error.content_type == "application/json":
            raise
        # No route of ours says no this way, so what is not found is the route.
        errcode = "M_UNRECOGNIZED" if error.status == 404 else _ERRCODES.get(error.status, "M_UNKNOWN")
        return _matrix(error.status, errcode, error.reason)
    except _DATABASE_AWAY as error:
        log.error("database_away", error=str(error), help="requests are answered 503 until it is back")
        return _matrix(503, "M_UNKNOWN", "the city's database does not answer; try again")
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _matrix(500, "M_UNKNOWN", _OURS_TO_MEND)


_CODES: Final = {400: "bad_request", 404: "no_such_route", 405: "method_not_allowed", 413: "body_too_large"}

_ERRCODES_OF: Final = {"not_json": "M_NOT_JSON", "token_invalid": "M_UNKNOWN_TOKEN"}
"""What the Matrix specification has words of its own for, by our code."""

_ERRCODES: Final = {
    401: "M_MISSING_TOKEN",
    403: "M_FORBIDDEN",
    404: "M_NOT_FOUND",
    405: "M_UNRECOGNIZED",
    413: "M_TOO_LARGE",
}


def _errcode(error: CityError) -> str:
    if isinstance(error, Mistakes):
        return "M_BAD_JSON"
    return _ERRCODES_OF.get(error.code) or _ERRCODES.get(error.status, "M_INVALID_PARAM")


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


def _matrix(status: int, errcode: str, error: str) -> web.Response:
    return json_response({"errcode": errcode, "error": error}, status=status)
