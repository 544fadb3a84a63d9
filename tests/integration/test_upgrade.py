"""An upgrade of a city with data in every table keeps all of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, insert, select

from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.migrations import EMPTY
from tests.parts.person_rows import GENERAL, ROWS

OLDEST = "0025"
"""The revision from which an upgrade with data in every table is tested."""

_GENERAL_ROOM = {"id": GENERAL, "slug": "general", "name": "General", "description": "", "created_at_ms": 1}

Rows = dict[str, list[dict[str, Any]]]


def _reflected(connection: Connection) -> MetaData:
    metadata = MetaData()
    metadata.reflect(connection)
    return metadata


def _fill(connection: Connection) -> None:
    """Store the sample rows in the tables and columns of the present revision."""
    tables = _reflected(connection).tables
    connection.execute(insert(tables["rooms"]), _GENERAL_ROOM)
    for table, rows in ROWS:
        if (earlier := tables.get(table.name)) is not None:
            for row in rows:
                connection.execute(insert(earlier).values({name: row[name] for name in row if name in earlier.c}))


def _read(connection: Connection) -> Rows:
    return {
        name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for name, table in _reflected(connection).tables.items()
        if name != "alembic_version"
    }


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_rooms_by_")
@EMPTY
async def test_upgrade_keeps_the_rows_of_every_table(database: Database) -> None:
    await migrate.upgrade(database, OLDEST)
    async with database.transaction() as tx:
        await tx.connection.run_sync(_fill)
        before = await tx.connection.run_sync(_read)
    assert sum(map(bool, before.values())) > 35

    assert await migrate.upgrade(database) == (OLDEST, migrate.head())

    async with database.read_only() as tx:
        after = await tx.connection.run_sync(_read)
    for name, rows in before.items():
        assert name in after, f"{name}: rename it here, too"
        for row in rows:
            assert any(row.items() >= _shared(found, row).items() and _shared(found, row) for found in after[name]), (
                name,
                row,
            )


def _shared(found: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of ``found`` that ``row`` has, too."""
    return {name: value for name, value in found.items() if name in row}
