"""The route ``/metrics``: the metrics of the process in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ..routing import EndpointDescription, NoContent, described


@dataclass(frozen=True, slots=True)
class MetricsRoute:
    """The route; ``refresh`` reads what the metrics need from the database, before each scrape."""

    registry: CollectorRegistry
    refresh: Callable[[], Awaitable[None]]

    def install(self, app: web.Application) -> None:
        app.router.add_get("/metrics", self._get_metrics)

    @described(
        EndpointDescription(
            None, summary="Get the metrics of the process", response=NoContent, response_type="text/plain"
        )
    )
    async def _get_metrics(self, request: web.Request) -> web.Response:
        """In the text format of Prometheus, or OpenMetrics if `Accept` prefers it."""
        await self.refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})
