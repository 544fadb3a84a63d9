"""Which errors mean that the database does not answer: the same request will do later."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_AWAY: Final = ("08", "53", "57")
"""Classes of SQLSTATE (PostgreSQL, appendix A): connection, resources, intervention: starting up, shutting down, full."""


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
