"""Calls listeners one after the other; an exception in one of them stops neither the others nor the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from prometheus_client import Counter

ERRORS: Final = Counter(
    "daarion_listener_errors",
    "Exceptions of bus subscribers, by `event`; the others got it.",
    ("event",),
    registry=None,
)
"""A counter of the process, exposed by ``process_registry``."""

log = structlog.get_logger()


def notify_all(event: str, listeners: Iterable[Callable[..., None]], *what: Any) -> None:
    """Call each listener with ``what``. Exceptions are logged and counted under the label ``event``; none is raised."""
    for listener in list(listeners):
        try:
            listener(*what)
        except Exception:  # noqa: BLE001 (logged with its traceback)
            # A fault of one listener must not stop the task that publishes.
            report_failure(event, listener)


def report_failure(event: str, listener: Callable[..., None]) -> None:
    """Log and count the exception that is being handled.

    Args:
        event: the label of the counter.
        listener: the function that raised the exception.
    """
    ERRORS.labels(event).inc()
    log.exception("listener_failed", bus_event=event, listener=getattr(listener, "__qualname__", repr(listener)))
