"""Which errors mean that the database does not answer: the same request will do later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..errors import Unavailable

_AWAY: Final = ("08", "53", "57")
"""Classes of SQLSTATE (PostgreSQL, appendix A): connection, resources, intervention: starting up, shutting down, full."""


@contextmanager
def unavailable_without_database() -> Iterator[None]:
    """Outside of plain requests: what was asked for will do later, and is no fault of ours. Raises Unavailable then."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if is_database_away(error):
            raise Unavailable("database_away", "the city's database does not answer; try again") from error
        raise


def is_database_away(error: BaseException) -> bool:
    """Whether it is; what goes wrong on the way to a client, or to anybody else, is not."""
    match error:
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            return True
        case DBAPIError():
            return error.connection_invalidated or str(getattr(error.orig, "sqlstate", None)).startswith(_AWAY)
        case OSError():
            return _came_through_sqlalchemy(error)
    return False


def _came_through_sqlalchemy(error: OSError) -> bool:
    # asyncpg lets what went wrong while it connects through as it is, and so does SQLAlchemy.
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith("sqlalchemy."):
            return True
        traceback = traceback.tb_next
    return False
