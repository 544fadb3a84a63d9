"""Tracks whether the database accepts writes: checked at each transaction, logged once per outage and once at its end.

While the database is away, every task retries its own transaction. One log line for each attempt would bury the reason,
so the first failure is logged with its advice, then one line a minute, then the return with the length of the outage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .database_url import cannot_use

_REMIND_EVERY_S: Final = 60.0
_AWAY: Final = ("08", "25006", "53", "57")
"""SQLSTATE classes (PostgreSQL, appendix A): connection, read-only transaction, resources, operator intervention."""

log = structlog.get_logger()


def is_database_unavailable(error: BaseException) -> bool:
    """Return whether an error means that the database does not answer or accepts no writes.

    An OSError from the connection to an HTTP client does not count.
    """
    match error:
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            return True
        case DBAPIError():
            return error.connection_invalidated or str(getattr(error.orig, "sqlstate", None)).startswith(_AWAY)
        case OSError():
            return _came_through_sqlalchemy(error)
    return False


def _came_through_sqlalchemy(error: OSError) -> bool:
    # While connecting, asyncpg and SQLAlchemy raise an OSError unchanged.
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith("sqlalchemy."):
            return True
        traceback = traceback.tb_next
    return False


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
    def observed(self) -> Iterator[None]:
        """Note whether the write in this block succeeds. Errors pass through unchanged."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            if self._was_used and is_database_unavailable(error):
                self._failed(error)
            raise
        self._was_used = True
        if self.problem is not None:
            self._succeeded()

    def _failed(self, error: Exception) -> None:
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

    def _succeeded(self) -> None:
        since_s, self._since_s, self.problem = self._since_s, None, None
        log.info("database_back", away_s=round(self._now_s() - (since_s or 0.0), 1))
