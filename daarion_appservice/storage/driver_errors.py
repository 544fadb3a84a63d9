"""Translates the exceptions of SQLAlchemy and of the database drivers into ``DatabaseError``.

Every connection of ``Database`` does so, so that no package above imports SQLAlchemy to catch an outage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..errors import ConstraintViolated, DatabaseError, DatabaseUnavailable, TransactionRolledBack
from .metrics import ERRORS

_UNAVAILABLE: Final = ("08", "25006", "53", "57")
"""SQLSTATE classes (PostgreSQL, appendix A): connection, read-only transaction, resources, operator intervention."""
_ROLLED_BACK: Final = "40"
"""The SQLSTATE class of transactions that PostgreSQL rolled back for the sake of others: deadlocks, serialization failures."""

_DRIVERS: Final = ("sqlalchemy.", "asyncpg.")
"""Prefixes of modules whose OSError comes from the database."""
_NAMES: Final[dict[type[DatabaseError], str]] = {
    DatabaseUnavailable: "unavailable",
    TransactionRolledBack: "rolled_back",
    ConstraintViolated: "constraint",
    DatabaseError: "other",
}
"""The values of the metric's label."""


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Translate the exceptions of database statements in the block; the driver's exception becomes the cause.

    Raises:
        DatabaseUnavailable: the database does not answer, or accepts no writes.
        ConstraintViolated: a constraint refused a row.
        DatabaseError: a statement failed for another reason.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        kind = _error_class(error)
        ERRORS.labels(_NAMES[kind]).inc()
        raise kind(driver_message(error)) from error
    except OSError as error:
        # An OSError of a connection to an HTTP client, for example, passes unchanged.
        if not _is_from_driver(error):
            raise
        ERRORS.labels(_NAMES[DatabaseUnavailable]).inc()
        raise DatabaseUnavailable(driver_message(error)) from error


def driver_message(error: BaseException) -> str:
    """Return the first line of the driver's message, without SQLAlchemy's additions and without values of rows."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    if not lines:
        return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    # SQLAlchemy puts the driver's class before its message.
    return lines[0].partition("'>: ")[2] or lines[0] if lines[0].startswith("<class '") else lines[0]


def _error_class(error: Exception) -> type[DatabaseError]:
    match error:
        case IntegrityError() | sqlite3.IntegrityError() | asyncpg.IntegrityConstraintViolationError():
            return ConstraintViolated
        case OperationalError() | InterfaceError() | PoolTimeoutError() | sqlite3.OperationalError():
            return DatabaseUnavailable
        case asyncpg.InterfaceError():  # the connection is closed
            return DatabaseUnavailable
        case DBAPIError() if error.connection_invalidated:
            return DatabaseUnavailable
        case DBAPIError() | asyncpg.PostgresError():
            return _class_of_sqlstate(str(getattr(getattr(error, "orig", error), "sqlstate", None)))
    return DatabaseError


def _class_of_sqlstate(sqlstate: str) -> type[DatabaseError]:
    if sqlstate.startswith(_UNAVAILABLE):
        return DatabaseUnavailable
    return TransactionRolledBack if sqlstate.startswith(_ROLLED_BACK) else DatabaseError


def _is_from_driver(error: OSError) -> bool:
    # While connecting, asyncpg and SQLAlchemy raise an OSError unchanged.
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith(_DRIVERS):
            return True
        traceback = traceback.tb_next
    return False
