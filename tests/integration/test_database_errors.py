"""Errors of databases that cannot be used: their texts have advice and no password."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import ReceivedEvent
from tests.parts.ports import free_port

SECRET = "p4ssw0rd-of-the-city"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://city:{secret}@127.0.0.1:{port}/city",
        "postgresql+psycopg2://city:{secret}@127.0.0.1:{port}/city",
        "postgresql://city@127.0.0.1:{port}/city?password={secret}",
        "postgresql://city:{secret}@no-such-host.invalid/city",
    ],
)
async def test_unreachable_postgresql_error_hides_password(url: str) -> None:
    database = Database(url.format(secret=SECRET, port=free_port()))
    for use in (database.check, lambda: migrate.upgrade(database), lambda: migrate.current(database)):
        with pytest.raises(StartError) as raised:
            await use()
        assert raised.value.exit_code == ExitCode.DATABASE
        assert raised.value.what.startswith("The database postgresql://city")
        assert "cannot be used: " in raised.value.what
        assert "Check that PostgreSQL runs there" in raised.value.help
        assert SECRET not in f"{raised.value.what}{raised.value.help}{raised.value!r}"
    await database.close()


async def test_missing_database_error_has_advice(postgres_url: str) -> None:
    database = Database(postgres_url + "_that_is_not_there")
    with pytest.raises(StartError, match="does not exist") as raised:
        await database.check()
    assert raised.value.exit_code == ExitCode.DATABASE
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://city:{SECRET}@localhost/city",
        f"postgresql://city:{SECRET}@localhost:port/city",
        f"city:{SECRET}",
        "",
    ],
)
def test_unsupported_url_error_hides_password(url: str) -> None:
    with pytest.raises(StartError) as raised:
        Database(url)
    assert raised.value.exit_code == ExitCode.CONFIG
    assert SECRET not in f"{raised.value.what}{raised.value.help}"
    assert "sqlite:///daarion.db or postgresql://" in raised.value.help


async def test_unusable_sqlite_file_error_has_advice(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes and no database at all" * 100)
    for name, reason, advice in (
        ("missing/city.db", "unable to open", "this user may write to it"),
        ("notes.txt", "not a database", "name another in database.url"),
    ):
        database = Database(f"sqlite:///{tmp_path / name}")
        with pytest.raises(StartError, match=reason) as raised:
            await database.check()
        assert raised.value.exit_code == ExitCode.DATABASE
        assert advice in raised.value.help
        await database.close()


async def test_writes_survive_other_process_closing(tmp_path: Path) -> None:
    """As a command line, or a backup, does beside the service."""
    database = Database(f"sqlite:///{tmp_path / 'city.db'}")
    await migrate.upgrade(database)
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM inbox').fetchone()[0])"
    )

    async def seen_by_another_process() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", count, str(tmp_path / "city.db"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return int(out)

    seen = []
    for number in range(3):
        async with database.transaction() as tx, database.read_only():
            await tx.inbox.add([ReceivedEvent(f"${number}", "!room", "{}")], now_ms=1)
        seen.append(await seen_by_another_process())
    await database.close()
    assert [*seen, await seen_by_another_process()] == [1, 2, 3, 3]
