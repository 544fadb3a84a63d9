"""Tracks whether the database accepts writes: checked at each transaction, logged once per outage and once at its end.

While the database is unavailable, every task retries its own transaction. One log line for each attempt would bury the reason,
so the first failure is logged with its advice, then one line a minute, then the return with the length of the outage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from sqlalchemy.engine import URL

from ..errors import DatabaseUnavailable, TransactionRolledBack
from .database_url import cannot_use
from .driver_errors import translate_driver_errors

_REMIND_EVERY_S: Final = 60.0

log = structlog.get_logger()


class Availability:
    """The state of one database: available, or away since a given time."""

    def __init__(self, url: URL, now_s: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._now_s = now_s
        self._since_s: float | None = None
        self._reminded_s = 0.0
        self._was_used = False
        """Before the first successful write there is no outage: the checks at startup report what is wrong."""
        self.problem: str | None = None
        """Why the last write failed; None if it succeeded."""

    @contextmanager
    def observe(self) -> Iterator[None]:
        """Translate driver errors in this block (``driver_errors``), and note whether its write succeeds."""
        try:
            with translate_driver_errors():
                yield
        except DatabaseUnavailable as error:
            if self._was_used and not isinstance(error, TransactionRolledBack):
                self._record_failure(error)
            raise
        self._was_used = True
        if self.problem is not None:
            self._record_success()

    def _record_failure(self, error: DatabaseUnavailable) -> None:
        now_s = self._now_s()
        reported = cannot_use(self._url, error)
        self.problem = reported.what
        if self._since_s is None:
            self._since_s = now_s
        elif now_s - self._reminded_s < _REMIND_EVERY_S:
            return
        self._reminded_s = now_s
        log.error(
            "database_unavailable",
            reason=reported.what,
            away_s=round(now_s - self._since_s),
            help=reported.help,
        )

    def _record_success(self) -> None:
        since_s, self._since_s, self.problem = self._since_s, None, None
        log.info("database_back", away_s=round(self._now_s() - (since_s or 0.0), 1))
