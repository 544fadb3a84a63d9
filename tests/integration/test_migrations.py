"""Tests of upgrades of the database schema: of an empty database, by several processes, and failed ones."""

from __future__ import annotations

import asyncio
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from tests.parts.migrations import EMPTY

SCRIBE = Agent("scribe", AgentSlug("scribe"), "Писар", rooms=("general",))


# On SQLite, SQLAlchemy does not describe the indexes of the orders of rooms; test_history_size tests that they are used.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_rooms_by_")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index .ix_rooms_by_")
@EMPTY
async def test_migrated_schema_equals_table_definitions(database: Database) -> None:
    await migrate.upgrade(database)

    def differences(connection: Connection) -> list[object]:
        is_sqlite = connection.dialect.name == "sqlite"
        options: dict[str, object] = {
            # SQLite tells defaults as they were written, which cannot be compared.
            "compare_server_default": not is_sqlite,
            # The virtual table with its own tables, and the index of an expression: SQLAlchemy describes neither.
            "include_name": lambda name, *_: not str(name).startswith(("search_index", "ix_search_entries")),
            "include_object": lambda _, name, *__: not (is_sqlite and str(name).startswith("ix_rooms_by_")),
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, tables.metadata))

    async with database.read_only() as tx:
        assert await tx.connection.run_sync(differences) == []


@EMPTY
async def test_upgrade_migrates_empty_database_once(
    database: Database,
) -> None:
    assert await migrate.current(database) is None
    assert await migrate.upgrade(database) == (None, migrate.head())
    assert await migrate.current(database) == migrate.head()
    async with database.transaction() as tx:
        await tx.agents.put(SCRIBE, now_ms=1)

    assert await migrate.upgrade(database) == (migrate.head(), migrate.head())

    async with database.read_only() as tx:
        assert await tx.agents.all() == [SCRIBE]


@EMPTY
async def test_concurrent_upgrades_migrate_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    try:
        ways = await asyncio.gather(*(migrate.upgrade(database) for database in databases))
    finally:
        for database in databases:
            await database.close()

    assert sorted(ways, key=lambda way: way[0] or "") == [
        (None, migrate.head()),
        (migrate.head(), migrate.head()),
        (migrate.head(), migrate.head()),
    ]


@EMPTY
async def test_concurrent_processes_migrate_once(database_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from daarion_appservice.storage import migrate\n"
        "from daarion_appservice.storage.database import Database\n"
        "sys.stdin.readline()\n"
        "print(asyncio.run(migrate.upgrade(Database(sys.argv[1])))[0])\n"
    )
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, database_url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(2)
    ]
    ended = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [process.returncode for process in processes] == [0, 0], ended
    assert sorted(out.decode().strip() for out, _ in ended) == sorted(["None", migrate.head()])


async def test_newer_database_is_refused_unchanged(database: Database) -> None:
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)

    assert raised.value.exit_code == ExitCode.DATABASE
    assert "newer daarion-appservice: its revision is 9999" in raised.value.what
    assert "restore the backup" in raised.value.help
    assert await migrate.current(database) == "9999"


@EMPTY
async def test_failed_migration_changes_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(text("CREATE TABLE outbox (something text)"))  # the last table that it would make
    with pytest.raises(StartError):
        await migrate.upgrade(database)

    async with database.read_only() as tx:
        names = await tx.connection.run_sync(lambda sync: sync.dialect.get_table_names(sync))
    assert [name for name in names if name != "alembic_version"] == ["outbox"]
