"""The registry of all metrics of the process."""

from __future__ import annotations

from itertools import chain
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from ..agents import metrics as agents
from ..http import metrics as http
from ..http.limits import metrics as limits
from ..matrix.backfill import metrics as backfill
from ..matrix.client import metrics as client
from ..matrix.inbound import metrics as inbound
from ..matrix.outbound import metrics as outbound
from ..matrix.presence import metrics as presence
from ..push import metrics as push
from ..realtime import isolation, listeners, message_steps, redis_client, supervisor
from ..storage import metrics as storage
from .city_metrics import MESSAGES
from .event_loop_lag import LAG_SECONDS

_OF_PACKAGES: Final = (
    http.METRICS,
    limits.METRICS,
    client.METRICS,
    inbound.METRICS,
    backfill.METRICS,
    outbound.METRICS,
    presence.METRICS,
    agents.METRICS,
    push.METRICS,
    storage.METRICS,
    redis_client.METRICS,
    message_steps.METRICS,
    (listeners.ERRORS, supervisor.RESTARTS, isolation.UNITS_FAILED, MESSAGES, LAG_SECONDS),
)
"""Metrics that are global to the process. The packages create them without a registry."""


def process_registry() -> CollectorRegistry:
    """Return a new registry. The library's global one would be shared by several cities in one process."""
    # Else each counter has a gauge with the time of its creation.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    for metric in chain.from_iterable(_OF_PACKAGES):
        registry.register(metric)
    return registry
