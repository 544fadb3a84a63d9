"""Connections of SQLite: one call of their thread for each statement, and transactions that end with their task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from daarion_appservice.errors import ConstraintViolated
from daarion_appservice.storage.database import Database


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    database = Database(sqlite_url)
    async with database.transaction() as tx:
        await tx.connection.execute(text("CREATE TABLE counted (number INTEGER PRIMARY KEY)"))
    yield database
    await database.close()


@pytest.fixture
def calls(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The calls of the threads of connections."""
    calls: list[object] = []
    execute = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, *arguments: object) -> object:
        calls.append(arguments)
        return await execute(self, *arguments)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    return calls


async def test_read_makes_one_call(database: Database, calls: list[object]) -> None:
    async with database.read_only() as tx:
        found = await tx.connection.execute(text("SELECT 1 AS one, 2 AS two"))
        assert [dict(row) for row in found.mappings()] == [{"one": 1, "two": 2}]
    assert len(calls) == 1


async def test_write_makes_two_calls(database: Database, calls: list[object]) -> None:
    async with database.transaction() as tx:
        written = await tx.connection.execute(text("INSERT INTO counted VALUES (1), (2)"))
        assert written.rowcount == 2
    assert len(calls) == 2, "BEGIN with INSERT, and COMMIT"


async def test_each_read_sees_the_last_commit(database: Database) -> None:
    async with database.read_only() as tx:
        assert await _count(tx.connection) == 0
        async with database.transaction() as writing:
            await writing.connection.execute(text("INSERT INTO counted VALUES (1)"))
        assert await _count(tx.connection) == 1


async def test_failed_write_is_rolled_back(database: Database) -> None:
    async def write_twice() -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(text("INSERT INTO counted VALUES (1)"))
            await tx.connection.execute(text("INSERT INTO counted VALUES (1)"))

    with pytest.raises(ConstraintViolated):
        await write_twice()
    async with database.transaction() as tx:
        assert await _count(tx.connection) == 0


async def test_cancelled_write_is_rolled_back(database: Database) -> None:
    slow = text(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "INSERT INTO counted SELECT i FROM n"
    )
    began = asyncio.Event()

    async def write() -> None:
        async with database.transaction() as tx:
            began.set()
            await tx.connection.execute(slow)
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    async with database.transaction() as tx:
        assert await _count(tx.connection) == 0


async def _count(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(text("SELECT count(*) FROM counted"))).scalar_one()
    return found
