"""Prometheus metrics of HTTP requests, and of WebSockets and event streams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_BEGAN_S: Final = web.RequestKey("began_s", float)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUEST_SECONDS: Final = Histogram(
    "daarion_http_request_seconds",
    "Time from the head of an HTTP request until its response begins, by `listener` (`api`, `matrix`), `method`, `route` (the "
    "path with placeholders; `none` without a route) and `status`; 101 is an open WebSocket. The request's body is included.",
    ("listener", "method", "route", "status"),
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5, 10),
    registry=None,
)


class StreamMetrics:
    """The metrics of one kind of stream: plain numbers, because a frame for 10,000 clients is counted 10,000 times."""

    __slots__ = ("open", "received_messages", "sent_bytes", "sent_messages")

    def __init__(self) -> None:
        self.open = 0
        self.received_messages = 0
        self.sent_messages = 0
        self.sent_bytes = 0


PRESENCE_SOCKETS: Final = StreamMetrics()
ROOM_SOCKETS: Final = StreamMetrics()
PRESENCE_EVENTS: Final = StreamMetrics()
_STREAMS: Final = {"presence": PRESENCE_SOCKETS, "room": ROOM_SOCKETS, "presence_events": PRESENCE_EVENTS}


class StreamCollector(Collector):
    """Exports the numbers of every `StreamMetrics`."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values."""
        kinds = "by `kind`: `presence` and `room` (WebSockets), `presence_events` (server-sent events)."
        opened = GaugeMetricFamily(
            "daarion_streams_open", f"Open WebSockets and event streams, {kinds}", labels=["kind"]
        )
        received = CounterMetricFamily(
            "daarion_stream_received_messages", "Messages of clients on WebSockets, by `kind`.", labels=["kind"]
        )
        messages = CounterMetricFamily(
            "daarion_stream_sent_messages",
            "Frames and events sent to WebSockets and event streams, by `kind`.",
            labels=["kind"],
        )
        sent = CounterMetricFamily(
            "daarion_stream_sent_bytes", "Bytes sent to WebSockets and event streams, by `kind`.", labels=["kind"]
        )
        for kind, stream in _STREAMS.items():
            opened.add_metric([kind], stream.open)
            received.add_metric([kind], stream.received_messages)
            messages.add_metric([kind], stream.sent_messages)
            sent.add_metric([kind], stream.sent_bytes)
        yield from (opened, received, messages, sent)


METRICS: Final = (REQUEST_SECONDS, StreamCollector())


def measure_requests(app: web.Application, listener: str) -> Middleware:
    """Measure every response of the application, including error responses of its middlewares.

    Returns:
        The outermost middleware, which notes when each request begins.
    """

    @web.middleware
    async def note_beginning(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_BEGAN_S] = time.perf_counter()
        return await handler(request)

    async def observe(request: web.Request, response: web.StreamResponse) -> None:
        began_s = request.get(_BEGAN_S)
        if began_s is not None:
            method = request.method if request.method in _METHODS else "other"
            child = _histogram(listener, method, _route_of(request), response.status)
            child.observe(time.perf_counter() - began_s)

    app.on_response_prepare.append(observe)
    return note_beginning


def _route_of(request: web.Request) -> str:
    """Return the path of the route with placeholders: no id of a user or room."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


@cache
def _histogram(listener: str, method: str, route: str, status: int) -> Histogram:
    return REQUEST_SECONDS.labels(listener, method, route, str(status))
