"""Prometheus metrics of requests to the homeserver, and of its pings of this service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import Final

from mautrix.api import Method, PathBuilder
from prometheus_client import Counter, Gauge, Histogram

from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverTimeout, HomeserverUnavailable
from .endpoints import endpoint_of

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class RequestResult(StrEnum):
    """How a request ended, with the value of the metric's label."""

    OK = "ok"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"
    ERROR = "error"


class PingResult(StrEnum):
    """How a ping ended, with the value of the metric's label."""

    ARRIVED = "arrived"
    FAILED = "failed"
    UNANSWERED = "unanswered"


REQUESTS: Final = Counter(
    "daarion_homeserver_requests",
    "Requests to the homeserver, by `method`, `endpoint` (the path of the client-server API with placeholders) and `result`: "
    "`ok`, `refused` (an error response), `rate_limited` (429), `timeout`, `unavailable` (no response), `cancelled`, "
    "`error` (an unexpected exception of this service).",
    ("method", "endpoint", "result"),
    registry=None,
)
REQUEST_SECONDS: Final = Histogram(
    "daarion_homeserver_request_seconds",
    "Duration of requests to the homeserver, by `method` and `endpoint`. `/sync` waits for events; for files, until the headers.",
    ("method", "endpoint"),
    buckets=_SECONDS,
    registry=None,
)
IN_FLIGHT: Final = Gauge(
    "daarion_homeserver_requests_in_flight", "Requests to the homeserver in progress.", registry=None
)
PINGS: Final = Counter(
    "daarion_homeserver_pings",
    "Pings that this service asked the homeserver for, by `result`: `arrived`, `failed` (the homeserver cannot reach this "
    "service, or has another token), `unanswered`.",
    ("result",),
    registry=None,
)
ABSENCES: Final = Counter("daarion_homeserver_absences", "How often the homeserver became unavailable.", registry=None)
METRICS: Final = (REQUESTS, REQUEST_SECONDS, IN_FLIGHT, PINGS, ABSENCES)

for _result in PingResult:
    PINGS.labels(_result)


@contextmanager
def measured(method: Method, path: PathBuilder) -> Iterator[None]:
    """Measure the request of the block and count its result, which an exception of the block determines."""
    endpoint = endpoint_of(str(path))
    began_s = time.perf_counter()
    result = RequestResult.OK
    IN_FLIGHT.inc()
    try:
        yield
    except BaseException as error:
        result = _result_of(error)
        raise
    finally:
        IN_FLIGHT.dec()
        _counter(method.value, endpoint, result).inc()
        _histogram(method.value, endpoint).observe(time.perf_counter() - began_s)


def _result_of(error: BaseException) -> RequestResult:
    match error:
        case HomeserverRateLimited():
            return RequestResult.RATE_LIMITED
        case HomeserverRefused():
            return RequestResult.REFUSED
        case HomeserverTimeout():
            return RequestResult.TIMEOUT
        case HomeserverUnavailable():
            return RequestResult.UNAVAILABLE
        case Exception():
            return RequestResult.ERROR
    return RequestResult.CANCELLED


# `labels` takes longer than the increment. The keys are bounded by the endpoints.


@cache
def _counter(method: str, endpoint: str, result: RequestResult) -> Counter:
    return REQUESTS.labels(method, endpoint, result)


@cache
def _histogram(method: str, endpoint: str) -> Histogram:
    return REQUEST_SECONDS.labels(method, endpoint)
