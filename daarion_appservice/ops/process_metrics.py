"""Metrics of the process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from ..http import response_counts
from ..http.limits import request_bytes
from ..realtime import isolation, listeners, supervisor


def process_registry() -> CollectorRegistry:
    """Return a new registry. The library's global one would be shared by several cities in one process."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(listeners.ERRORS)
    registry.register(supervisor.RESTARTS)
    registry.register(isolation.UNITS_FAILED)
    registry.register(response_counts.RESPONSES)
    registry.register(request_bytes.HELD)
    registry.register(request_bytes.REFUSED)
    return registry
