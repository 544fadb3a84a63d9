"""Which errors are the database's absence, and which are somebody else's."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from daarion_appservice.storage.availability import is_database_unavailable
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres


class Driver(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("what the driver says")
        self.sqlstate = sqlstate


def said(sqlstate: str | None, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, Driver(sqlstate), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        pytest.param(said("57P03"), True, id="starting up"),
        pytest.param(said("57P01"), True, id="shutting down"),
        pytest.param(said("53300"), True, id="too many clients"),
        pytest.param(said("08006"), True, id="connection failure"),
        pytest.param(said(None, invalidated=True), True, id="connection lost"),
        pytest.param(OperationalError("SELECT 1", {}, Driver(None)), True, id="operational"),
        pytest.param(InterfaceError("SELECT 1", {}, Driver(None)), True, id="interface"),
        pytest.param(PoolTimeoutError("QueuePool limit reached"), True, id="pool exhausted"),
        pytest.param(said("22P02"), False, id="a wrong value"),
        pytest.param(said(None), False, id="no state"),
        pytest.param(ProgrammingError("SELECT 1", {}, Driver("42P01")), False, id="no such table"),
        pytest.param(IntegrityError("SELECT 1", {}, Driver("23505")), False, id="taken"),
        pytest.param(ConnectionResetError("Cannot write to closing transport"), False, id="a client who left"),
        pytest.param(TimeoutError(), False, id="a client who is slow"),
        pytest.param(ValueError(), False, id="a mistake"),
    ],
)
def test_errors_are_told_apart(error: Exception, away: bool) -> None:
    assert is_database_unavailable(error) is away


async def raised(url: str) -> Exception:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        return error
    finally:
        await engine.dispose()
    raise AssertionError("nothing went wrong")


async def test_nobody_at_the_databases_address_is_its_absence_and_elsewhere_is_not() -> None:
    error = await raised(f"postgresql://nobody@{HOST}:{free_port()}/nothing")
    assert isinstance(error, OSError)
    assert is_database_unavailable(error)
    with pytest.raises(ConnectionRefusedError) as refused:
        await asyncio.open_connection(HOST, free_port())
    assert not is_database_unavailable(refused.value)


async def test_a_database_that_is_full_is_away(postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    try:
        error = await raised(f"postgresql://crowd@{HOST}:{postgres.port}/postgres")
    finally:
        postgres.execute("DROP ROLE crowd")
    assert "too many connections" in str(error)
    assert is_database_unavailable(error)
