"""Isolates failures: a room, event or agent that cannot be processed does not stop the background task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import Counter

from ..errors import DatabaseError, HomeserverRefused, HomeserverUnavailable, StartError, TaskFailedRepeatedly

_FOR_THE_TASK: Final = (
    HomeserverUnavailable,
    HomeserverRefused,
    StartError,
    TaskFailedRepeatedly,
    DatabaseError,
)
"""Errors that affect all units of work, or that the task itself handles."""

UNITS_FAILED: Final = Counter(
    "daarion_task_units_failed",
    "Rooms and agents that a background task could not process, by `task`; it continued with the others (`unit_failed`).",
    ("task",),
    registry=None,
)
"""A counter of the process, exposed by ``process_registry``."""

log = structlog.get_logger()


@contextmanager
def isolated(task: str, unit: str) -> Iterator[None]:
    """Log and count unexpected exceptions of the block, and continue after it.

    Args:
        task: the background task, for the metric's label.
        unit: which room or agent, for the log.

    Raises:
        HomeserverUnavailable, HomeserverRefused, DatabaseError: passed on unchanged, as are StartError and
        TaskFailedRepeatedly.
    """
    try:
        yield
    except _FOR_THE_TASK:
        raise
    except Exception:
        UNITS_FAILED.labels(task).inc()
        log.exception(
            "unit_failed",
            task=task,
            unit=unit,
            help="the task tries it again in its next step, and continues",
        )
