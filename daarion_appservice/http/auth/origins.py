"""Checks the header ``Origin`` of WebSocket requests: CORS does not apply to them, so the server must (RFC 6455 §10.2)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from ...errors import Forbidden, InvalidInput

log = structlog.get_logger()


class Origins:
    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)
        # Each warning is logged once per process: any client can send such requests.
        self._origin_reported = False
        self._upgrade_reported = False

    def check(self, request: web.Request) -> None:
        """Check that a request comes from the city's own origin, a configured one, or a client that is not a browser.

        Raises:
            Forbidden: the origin is another one.
        """
        origin = request.headers.get("Origin")
        if origin is None or origin in self._allowed or _host(origin) == request.host:
            return
        self._log_refused(request, origin)
        raise Forbidden("origin_not_allowed", f"the origin {origin} is not allowed; see api.allowed_origins")

    def check_upgrade(self, request: web.Request) -> None:
        """Check that a request asks for a WebSocket, and log once that a proxy may be the reason if it does not.

        A reverse proxy drops ``Upgrade`` and ``Connection`` unless it is configured to forward them (RFC 9110 §7.6.1), and
        then every page reconnects forever.

        Raises:
            InvalidInput: the request has no ``Upgrade: websocket``.
        """
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return
        if not self._upgrade_reported and request.headers.get("Sec-WebSocket-Key"):
            self._upgrade_reported = True
            log.warning(
                "upgrade_missing",
                address=request.remote,
                help="a reverse proxy drops the Upgrade header, so no WebSocket opens: in nginx, `proxy_http_version 1.1`, "
                "`proxy_set_header Upgrade $http_upgrade` and `proxy_set_header Connection upgrade`",
            )
        raise InvalidInput(
            "no_upgrade", "this path is a WebSocket: the request must have the header `Upgrade: websocket`", status=426
        )

    def _log_refused(self, request: web.Request, origin: str) -> None:
        if self._origin_reported:
            return
        self._origin_reported = True
        log.warning(
            "origin_refused",
            origin=origin[:200],
            host=request.host[:200],
            help="pages of this origin cannot open a WebSocket: add it to api.allowed_origins if it is yours. If the two "
            "should be the same, the reverse proxy replaces Host: in nginx, `proxy_set_header Host $http_host`",
        )


def _host(origin: str) -> str | None:
    """Return the host and port of an origin, or None if it is not a URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
