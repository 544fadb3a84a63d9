"""A full, foreign, read-only or locked database: advice in the log, 503 of /readyz, no traceback."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from structlog.testing import capture_logs

from daarion_appservice.errors import DatabaseUnavailable, ExitCode, StartError
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.inbox_writer import ReceivedTransaction
from daarion_appservice.storage.sqlite_file import ServiceLock
from tests.parts.postgres import Postgres

LARGE = "x" * 400_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.check()
    yield database
    await database.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    database = Database(sqlite_url)
    await database.check()
    yield database
    await database.close()


def transaction(number: int, event: str = "{}") -> ReceivedTransaction:
    return ReceivedTransaction(f"t{number}", "hash", [ReceivedEvent(f"$e{number}", "!r", event)], 1)


# --- a full database ----------------------------------------------------------------------------------


async def limit_pages(database: Database) -> None:
    """SQLite's own limit gives the same error as a full disk, SQLITE_FULL, on every connection that sets it."""
    async with database.read_only() as tx:
        pages = (await tx.connection.execute(text("PRAGMA page_count"))).scalar()

    def limit(connection: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    await database.inbox_writer._connection.run(limit)  # type: ignore[attr-defined]


async def test_full_disk_raises_database_unavailable(sqlite: Database) -> None:
    assert await sqlite.inbox_writer.store(transaction(0))
    await limit_pages(sqlite)
    with capture_logs() as logs, pytest.raises(DatabaseUnavailable, match="full"):
        await sqlite.inbox_writer.store(transaction(1, LARGE))
    assert [(each["event"], each["help"]) for each in logs] == [
        ("database_unavailable", "The disk is full: make room on it.")
    ]
    assert sqlite.availability.problem is not None
    assert "full" in sqlite.availability.problem


async def test_outage_and_its_end_are_logged_once(sqlite: Database) -> None:
    await sqlite.inbox_writer.store(transaction(0))
    await limit_pages(sqlite)
    with capture_logs() as logs:
        for number in range(1, 20):
            with pytest.raises(DatabaseUnavailable):
                await sqlite.inbox_writer.store(transaction(number, LARGE))
        # The write probe: other connections have room, so the database counts as usable again.
        assert await sqlite.problem() is None
    assert [each["event"] for each in logs] == ["database_unavailable", "database_back"]
    assert sqlite.availability.problem is None


async def test_read_only_postgres_is_reported(postgres: Postgres, postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.check()
    assert await database.problem() is None
    name = postgres_url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as tx:
            await tx.key_values.put_write_probe()
    assert "read-only" in (await database.problem() or "")
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    async def usable() -> bool:
        return await database.problem() is None

    for _ in range(50):
        if await usable():
            break
        await asyncio.sleep(0.05)
    assert await usable()
    await database.close()


# --- a database that is not ours ----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1251", "EUC_JP"])
async def test_database_without_utf8_refused(postgres: Postgres, encoding: str) -> None:
    name = encoding.lower()
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    database = Database(postgres.url(name))
    with pytest.raises(StartError, match=encoding) as raised:
        await migrate.upgrade(database)
    assert raised.value.exit_code == ExitCode.DATABASE
    assert "createdb -E UTF8" in raised.value.help
    await database.close()
    postgres.drop_database(name)


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_synapses_own_database_refused(
    request: pytest.FixtureRequest, tmp_path: Path, backend: str, is_migrated: bool
) -> None:
    assert not is_migrated
    url = f"sqlite:///{tmp_path / 'homeserver.db'}" if backend == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    async with database.transaction() as tx:
        await tx.connection.execute(text("CREATE TABLE applied_schema_deltas (version integer)"))
    with pytest.raises(StartError, match="Synapse's own database"):
        await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert await tx.connection.run_sync(lambda each: inspect(each).get_table_names()) == ["applied_schema_deltas"]
    await database.close()


@pytest.mark.parametrize(
    ("content", "advice"),
    [(None, "names a directory"), (b"password: secret\n", "no SQLite database")],
    ids=["dir", "text"],
)
async def test_path_set_by_mistake_keeps_its_permissions(tmp_path: Path, content: bytes | None, advice: str) -> None:
    path = tmp_path / "of_others"
    path.mkdir() if content is None else path.write_bytes(content)
    path.chmod(0o755)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)
    assert advice in raised.value.help
    await database.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
async def test_user_without_a_schema_gets_advice(postgres: Postgres, postgres_url: str, is_migrated: bool) -> None:
    assert not is_migrated
    name = postgres_url.rpartition("/")[2]
    postgres.execute("CREATE ROLE homeless LOGIN")
    postgres.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC", name)
    database = Database(postgres_url.replace("postgres@", "homeless@"))
    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)
    assert "ALTER SCHEMA public OWNER TO homeless" in raised.value.help
    await database.close()
    postgres.execute("DROP ROLE homeless")


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
async def test_foreign_owner_advice_names_owner_commands(
    postgres: Postgres, postgres_url: str, is_migrated: bool
) -> None:
    assert not is_migrated
    name = postgres_url.rpartition("/")[2]
    postgres.execute("CREATE ROLE stranger LOGIN")
    database = Database(postgres_url.replace("postgres@", "stranger@"))
    await database.check()
    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)
    assert f"ALTER DATABASE {name} OWNER TO stranger" in raised.value.help
    assert "password" not in raised.value.help
    await database.close()
    postgres.execute("DROP ROLE stranger")


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
async def test_tables_of_another_program_refused(postgres: Postgres, postgres_url: str, is_migrated: bool) -> None:
    assert not is_migrated
    postgres.execute("CREATE TABLE rooms (id integer)", postgres_url.rpartition("/")[2])
    database = Database(postgres_url)
    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)
    assert "database of its own" in raised.value.help
    await database.close()


async def test_exhausted_connections_advise_max_connections(postgres: Postgres, postgres_url: str) -> None:
    postgres.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    database = Database(postgres_url.replace("postgres@", "limited@"))
    with pytest.raises(StartError) as raised:
        await database.check()
    assert "max_connections" in raised.value.help
    await database.close()
    postgres.execute("DROP ROLE limited")


# --- query parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["sslmode=prefer", "sslmode=disable&connect_timeout=5&application_name=daarion", "ssl=prefer", "user=postgres"],
)
async def test_libpq_parameters_understood(postgres_url: str, query: str) -> None:
    database = Database(f"{postgres_url}?{query}")
    await database.check()
    await database.close()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sslmode=sure", "sslmode"),
        ("keepalive=1", "'keepalive'"),
        ("connect_timeout=soon", "connect_timeout"),
        ("sslmode=verify-full&sslrootcert=/nowhere.pem", "/nowhere.pem"),
    ],
)
def test_unknown_parameter_named(query: str, named: str) -> None:
    with pytest.raises(StartError) as raised:
        Database(f"postgresql://city:pass@localhost/city?{query}")
    assert raised.value.exit_code == ExitCode.CONFIG
    assert named in f"{raised.value.what} {raised.value.help}"


@pytest.mark.parametrize(
    ("query", "advice"), [("sslmode=require", "sslmode=prefer"), ("sslmode=verify-full", "sslrootcert=")]
)
async def test_refused_tls_named(
    postgres_url: str, query: str, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where asyncpg looks for the authority's certificate
    database = Database(f"{postgres_url}?{query}")
    with pytest.raises(StartError) as raised:
        await database.check()
    assert advice in raised.value.help
    await database.close()


# --- the file of SQLite -------------------------------------------------------------------------------


def others(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
async def test_sqlite_file_not_readable_by_others(tmp_path: Path, mode: int | None) -> None:
    file = tmp_path / "city.db"
    if mode is not None:
        file.touch()
        file.chmod(mode)
    database = Database(f"sqlite:///{file}")
    await migrate.upgrade(database)
    await database.inbox_writer.store(transaction(0))
    files = sorted(tmp_path.iterdir())
    assert {each.name for each in files} >= {"city.db", "city.db-wal"}
    assert [others(each) for each in files] == [0] * len(files)
    await database.close()


async def test_second_service_on_same_sqlite_file_refused(sqlite_url: str) -> None:
    first, second = Database(sqlite_url), Database(sqlite_url)
    first.claim()
    with pytest.raises(StartError, match="Another daarion-appservice runs") as raised:
        second.claim()
    assert raised.value.exit_code == ExitCode.DATABASE
    await second.check()  # a command beside the service
    await first.close()
    second.claim()
    await second.close()


def test_service_lock_file_private(tmp_path: Path) -> None:
    lock = ServiceLock(tmp_path / "city.db")
    lock.acquire()
    assert others(tmp_path / "city.db.lock") == 0
    lock.release()
