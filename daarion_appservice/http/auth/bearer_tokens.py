"""Reads the bearer token of a request (RFC 6750), and compares secrets."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from aiohttp import hdrs, web

from ...errors import Unauthenticated

_BEARER: Final = "bearer"


def bearer_token(request: web.Request) -> str | None:
    """Return the token of ``Authorization: Bearer …``, or None without the header.

    Raises:
        Unauthenticated: the header has another scheme or no token.
    """
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _BEARER or not token.strip():
        raise Unauthenticated("token_invalid", "the Authorization header must be `Bearer <token>`")
    return token.strip()


def stream_token(request: web.Request) -> str | None:
    """Return the token of a WebSocket or EventSource request: a browser cannot set a header, so ``?token=`` is accepted.

    Raises:
        Unauthenticated: the Authorization header has another scheme or no token.
    """
    return bearer_token(request) or request.query.get("token")


def is_same_secret(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in constant time; an empty ``expected`` equals nothing."""
    return bool(expected) and compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
