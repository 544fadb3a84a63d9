"""Deferred writes: later statements see them, a rollback forgets them, and their errors fail the transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, select, text

from daarion_appservice.city.types import OutboxKind
from daarion_appservice.errors import ConstraintViolated, DatabaseUnavailable
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.deferred_writes import joined
from daarion_appservice.storage.tables import outbox
from tests.parts.metrics import Moves
from tests.parts.round_trips import counted_round_trips


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    try:
        await migrate.upgrade(database)
        yield database
    finally:
        await database.close()


async def join(tx: Transaction, txn_id: str) -> None:
    """Add an entry of the outbox, whose room need not exist."""
    values = {"kind": OutboxKind.JOIN, "user_id": "@ghost:city", "room_id": "room", "txn_id": txn_id}
    await tx.outbox._write(insert(outbox).inline(), values)


async def txn_ids(tx: Transaction) -> list[str]:
    return list(await tx.connection.scalars(select(outbox.c.txn_id).order_by(outbox.c.id)))


async def test_writes_share_the_next_round_trip(database: Database) -> None:
    async with database.transaction() as tx:
        with counted_round_trips() as trips:
            for number in range(3):
                await join(tx, f"{number}")
            assert trips.count <= (0 if database.is_sqlite else 3), (
                "on PostgreSQL a second write to a table sends the first"
            )
        assert await txn_ids(tx) == ["0", "1", "2"]


async def test_later_statement_sees_writes_and_commit_stores_them(database: Database) -> None:
    async with database.transaction() as tx:
        await join(tx, "first")
        assert await txn_ids(tx) == ["first"]
        await join(tx, "second")
    async with database.read_only() as tx:
        assert await txn_ids(tx) == ["first", "second"]


async def test_rollback_forgets_writes(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- the block raises it itself
        async with database.transaction() as tx:
            await join(tx, "never")
            raise ZeroDivisionError
    async with database.transaction() as tx:
        assert await txn_ids(tx) == []


async def test_error_of_a_write_fails_the_commit(database: Database) -> None:
    async with database.transaction() as tx:
        await join(tx, "once")
    with pytest.raises(ConstraintViolated):  # noqa: PT012 -- the commit raises
        async with database.transaction() as tx:
            await join(tx, "another")
            await join(tx, "once")
    async with database.transaction() as tx:
        assert await txn_ids(tx) == ["once"]


async def test_connection_lost_before_the_commit_fails_the_transaction(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        await migrate.upgrade(database)
        with pytest.raises(DatabaseUnavailable):  # noqa: PT012 -- the commit raises
            async with database.transaction() as tx:
                backend = await tx.connection.scalar(text("SELECT pg_backend_pid()"))
                await join(tx, "lost")
                async with database.read_only() as other:
                    await other.connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        async with database.transaction() as tx:
            await join(tx, "next")
        async with database.read_only() as tx:
            assert await txn_ids(tx) == ["next"]
    finally:
        await database.close()


async def test_write_without_transaction_is_refused(database: Database) -> None:
    """Nothing would commit it: the connection of a read forgets it."""
    with pytest.raises(RuntimeError, match="transaction"):
        async with database.read_only() as tx:
            await join(tx, "lost")


async def test_write_is_measured_once_it_is_executed(database: Database) -> None:
    moves = Moves()
    async with database.transaction() as tx:
        await join(tx, "measured")
        assert moves.of("daarion_database_statement_seconds_count") == 0
        await txn_ids(tx)
        assert moves.of("daarion_database_statement_seconds_count") == 1


async def test_transaction_without_statement_needs_no_round_trip(database: Database) -> None:
    async with database.transaction():
        pass
    with counted_round_trips() as trips:
        async with database.transaction():
            pass
    assert trips.count == 0


def test_joined_writes_have_parameters_of_their_own() -> None:
    writes = (
        ("INSERT INTO a VALUES ($1, $2)", 2),
        ("DELETE FROM b WHERE id = $1", 1),
        ("UPDATE c SET d = $2, e = $1", 2),
    )
    assert joined(writes) == (
        "WITH write_1 AS (INSERT INTO a VALUES ($1, $2)), write_2 AS (DELETE FROM b WHERE id = $3) UPDATE c SET d = $5, e = $4"
    )
    assert joined(writes[:1]) == "INSERT INTO a VALUES ($1, $2)"
