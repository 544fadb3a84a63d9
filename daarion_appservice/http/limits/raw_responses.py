"""HTTP/1.1 responses as bytes, for a connection without a parsed request: aiohttp has no response object for it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from ...errors import CityError, Unavailable
from ...json_encoding import encode_json

RETRY_AFTER_S: Final = 5


def raw_problem(error: CityError) -> bytes:
    """Return the problem document of an error (RFC 9457) with its head; the connection must be closed after it."""
    phrase = HTTPStatus(error.status).phrase
    problem = {
        "type": f"urn:daarion:problem:{error.code}",
        "title": phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    body = encode_json(problem)
    head = (
        f"HTTP/1.1 {error.status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Retry-After: {RETRY_AFTER_S}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


TOO_MANY_CONNECTIONS: Final = raw_problem(
    Unavailable("too_many_connections", "the server has too many open connections")
)
REQUEST_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
