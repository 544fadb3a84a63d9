"""Prometheus metrics of the limits of the listeners."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

HITS: Final = Counter(
    "daarion_limit_hits",
    "Requests, client events and connections that a limit refused, by `limit`: the name of the setting in the section `limits`, "
    "or `transfers` (of `media`).",
    ("limit",),
    registry=None,
)
SLOW_READERS: Final = Counter(
    "daarion_slow_readers_cut",
    "Connections that were closed because the client did not read, by `kind`: `websocket`, `event_stream`, `response`.",
    ("kind",),
    registry=None,
)
CONNECTIONS: Final = Gauge(
    "daarion_http_connections", "Open TCP connections, by `listener`.", ("listener",), registry=None
)
HELD_BYTES: Final = Gauge(
    "daarion_http_held_request_bytes",
    "Bytes of requests in memory, by `listener`: incomplete ones, those that are processed, WebSocket messages.",
    ("listener",),
    registry=None,
)
METRICS: Final = (HITS, SLOW_READERS, CONNECTIONS, HELD_BYTES)

SLOW_WEBSOCKET: Final = SLOW_READERS.labels("websocket")
SLOW_EVENT_STREAM: Final = SLOW_READERS.labels("event_stream")
SLOW_RESPONSE: Final = SLOW_READERS.labels("response")


def count_hit(limit: str) -> None:
    """Count something that a limit refused; ``limit`` is the name of its setting."""
    HITS.labels(limit).inc()
