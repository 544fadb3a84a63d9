"""Authentication of the homeserver's requests, and error responses (application service API, "Authorization")."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

import orjson
from aiohttp import web


class HomeserverToken:
    """Checks the ``hs_token`` of requests, in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, request: web.Request) -> None:
        """Check the ``Authorization`` header of a request.

        Raises:
            web.HTTPUnauthorized: the header has no bearer token.
            web.HTTPForbidden: the token is not the ``hs_token``.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise matrix_error(401, "M_MISSING_TOKEN", "The homeserver's token is missing")
        if not compare_digest(token.strip().encode("utf-8", "surrogateescape"), self._token):
            raise matrix_error(
                403,
                "M_FORBIDDEN",
                "This is not the hs_token that the city expects: give Synapse the registration file that belongs to "
                "the city's config.yaml, and restart it",
            )


def matrix_error(status: int, errcode: str, error: str) -> web.HTTPException:
    """Return an error response with a standard error body (client-server API, "Standard error response")."""
    kind = next(kind for kind in _HTTP_ERRORS if kind.status_code == status)
    return kind(text=orjson.dumps({"errcode": errcode, "error": error}).decode(), content_type="application/json")


_HTTP_ERRORS: Final[tuple[type[web.HTTPException], ...]] = (
    web.HTTPBadRequest,
    web.HTTPUnauthorized,
    web.HTTPForbidden,
    web.HTTPNotFound,
)
