"""The route ``/metrics``: the metrics of the process in the format of Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

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
        # The encoding takes three times as long as the collection, and needs no state of the event loop's thread.
        body = await asyncio.to_thread(encode, _Collected(list(self.registry.collect())))
        return web.Response(body=body, headers={"Content-Type": content_type})


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    """Metrics that were collected before."""

    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics
