"""Count HTTP responses by listener and status, for ``/metrics``."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from prometheus_client import Counter

RESPONSES: Final = Counter(
    "daarion_http_responses",
    "Responses to HTTP requests, by `listener` (`api`, `matrix`) and `status`; 101 is an open WebSocket.",
    ("listener", "status"),
    registry=None,
)
"""The metric is global to the process; ``process_registry`` exposes it."""


def count_responses(app: web.Application, listener: str) -> None:
    """Count every response of the application, including error responses of its middlewares."""

    async def count(_request: web.Request, response: web.StreamResponse) -> None:
        RESPONSES.labels(listener, str(response.status)).inc()

    app.on_response_prepare.append(count)
