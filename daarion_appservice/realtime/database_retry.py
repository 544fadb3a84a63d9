"""Pauses and log lines for a task that repeats its statement after a database error.

An outage is retried each second. A refused statement, a fault of the data or of the service, is retried at growing
intervals, because the database is likely to refuse it again.
"""

from __future__ import annotations

import random
from typing import Final

import structlog

from ..errors import DatabaseError, DatabaseUnavailable

RETRY_S: Final = 1.0
"""Longest pause in an outage, and after the first refusal, in seconds."""
MAX_RETRY_S: Final = 60.0
"""Longest pause between two attempts of a refused statement, in seconds."""
_MAX_DOUBLINGS: Final = 6
"""Doublings after which the pause has reached ``MAX_RETRY_S``; more would overflow a float after a thousand refusals."""

log = structlog.get_logger()


def jittered(pause_s: float) -> float:
    """Return a random time between half of ``pause_s`` and all of it, so that many tasks do not retry at the same time."""
    return random.uniform(pause_s / 2, pause_s)  # noqa: S311 -- not a secret


class DatabaseRetry:
    """Logs the start and the end of each series of database errors, and doubles the pause between refused statements.

    Args:
        task: the name of the task, for the log.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._is_unavailable = False
        self._refusals = 0

    def record_failure(self, error: DatabaseError) -> float:
        """Record a failed attempt; return the pause before the next one, in seconds."""
        return jittered(self._unavailable(error) if isinstance(error, DatabaseUnavailable) else self._refused(error))

    def record_success(self) -> None:
        """Record a successful attempt."""
        if self._is_unavailable or self._refusals:
            log.info("task_continues", task=self._task)
        self._is_unavailable = False
        self._refusals = 0

    def _unavailable(self, error: DatabaseUnavailable) -> float:
        if not self._is_unavailable:
            self._is_unavailable = True
            log.error(
                "task_waits_for_database",
                task=self._task,
                error=str(error),
                help="trying again each second, and nothing is lost",
            )
        return RETRY_S

    def _refused(self, error: DatabaseError) -> float:
        self._refusals += 1
        pause_s = min(RETRY_S * (1 << min(self._refusals - 1, _MAX_DOUBLINGS)), MAX_RETRY_S)
        if self._refusals.bit_count() == 1:  # 1, 2, 4, 8 …
            log.error(
                "task_statement_refused",
                task=self._task,
                attempts=self._refusals,
                error=str(error),
                help=f"trying again at growing intervals, at most {MAX_RETRY_S:.0f} s",
                exc_info=error,
            )
        return pause_s
