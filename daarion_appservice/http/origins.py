"""Which web pages may open sockets: a browser asks nobody's leave for that, so the server must look (RFC 6455 §10.2)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from ..errors import NotAllowed


class Origins:
    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, request: web.Request) -> None:
        """Raise NotAllowed for a page of another origin that is not configured. What is no browser sends no Origin."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._allowed or _host(origin) == request.host:
            return
        raise NotAllowed("origin_not_allowed", f"pages of {origin} may not connect; see api.allowed_origins")


def _host(origin: str) -> str | None:
    """Host and port; None for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
