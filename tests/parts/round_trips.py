"""Counts the round trips of transactions: calls of a SQLite connection's thread, requests to a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection, AsyncAdapt_asyncpg_cursor

from daarion_appservice.storage.sqlite_engine import OneCallConnection

_POSTGRES: tuple[tuple[type, str], ...] = (
    (AsyncAdapt_asyncpg_cursor, "_prepare_and_execute"),
    (AsyncAdapt_asyncpg_cursor, "_executemany"),
    (AsyncAdapt_asyncpg_connection, "_start_transaction"),  # BEGIN
    (AsyncAdapt_asyncpg_connection, "_call_and_discard"),  # COMMIT and ROLLBACK
)
"""The methods of PostgreSQL connections that wait for the server."""


@dataclass
class RoundTrips:
    """The number of round trips of all databases of the process."""

    count: int = 0


@contextmanager
def counted_round_trips() -> Iterator[RoundTrips]:
    """Count the round trips during the block, without those of statements outside of transactions."""
    trips = RoundTrips()
    with pytest.MonkeyPatch.context() as patched:
        _count(patched, OneCallConnection, "run", trips, _is_sqlite_transaction)
        for kind, name in _POSTGRES:
            _count(patched, kind, name, trips, _is_postgres_transaction)
        yield trips


def _is_sqlite_transaction(connection: Any) -> bool:
    return connection._is_in_transaction or any(statement.startswith("BEGIN") for statement, _ in connection._kept)


def _is_postgres_transaction(connection_or_cursor: Any) -> bool:
    connection = getattr(connection_or_cursor, "_adapt_connection", connection_or_cursor)
    return bool(connection.isolation_level != "autocommit")


def _count(
    patched: pytest.MonkeyPatch, kind: type, name: str, trips: RoundTrips, is_counted: Callable[[Any], bool]
) -> None:
    method = getattr(kind, name)

    def call(self: Any, *arguments: Any) -> Any:
        trips.count += is_counted(self)
        return method(self, *arguments)

    patched.setattr(kind, name, call)
