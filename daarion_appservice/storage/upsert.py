"""INSERT … ON CONFLICT for both databases, which SQLAlchemy implements once per dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Insert = postgresql.Insert | sqlite.Insert


def for_both(build: Callable[[Callable[[Table], Insert]], Insert]) -> Mapping[str, Insert]:
    """Return a statement for each database, by the name of its dialect, so that it is built only once.

    Args:
        build: returns the statement, made with its argument, which begins an INSERT into a table.
    """
    return {"sqlite": build(sqlite.insert), "postgresql": build(postgresql.insert)}


def insert(connection: AsyncConnection, table: Table) -> Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
