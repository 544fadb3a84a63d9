"""Translation of driver exceptions: an outage, a constraint violation and other failures are different errors."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from daarion_appservice.errors import ConstraintViolated, DatabaseError, DatabaseUnavailable, TransactionRolledBack
from daarion_appservice.storage.driver_errors import driver_message, translate_driver_errors
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the message\nDETAIL: Key (id)=(secret) already exists.")
        self.sqlstate = sqlstate


def dbapi_error(sqlstate: str | None, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, DriverError(sqlstate), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(dbapi_error("57P03"), DatabaseUnavailable, id="starting up"),
        pytest.param(dbapi_error("57P01"), DatabaseUnavailable, id="shutting down"),
        pytest.param(dbapi_error("53300"), DatabaseUnavailable, id="too many clients"),
        pytest.param(dbapi_error("08006"), DatabaseUnavailable, id="connection failure"),
        pytest.param(dbapi_error("25006"), DatabaseUnavailable, id="read-only"),
        pytest.param(dbapi_error(None, invalidated=True), DatabaseUnavailable, id="connection lost"),
        pytest.param(OperationalError("SELECT 1", {}, DriverError(None)), DatabaseUnavailable, id="operational"),
        pytest.param(InterfaceError("SELECT 1", {}, DriverError(None)), DatabaseUnavailable, id="interface"),
        pytest.param(PoolTimeoutError("QueuePool limit reached"), DatabaseUnavailable, id="pool exhausted"),
        pytest.param(sqlite3.OperationalError("disk is full"), DatabaseUnavailable, id="sqlite disk full"),
        pytest.param(dbapi_error("40001"), TransactionRolledBack, id="serialization failure"),
        pytest.param(dbapi_error("40P01"), TransactionRolledBack, id="deadlock"),
        pytest.param(dbapi_error("22P02"), DatabaseError, id="invalid value"),
        pytest.param(dbapi_error(None), DatabaseError, id="no sqlstate"),
        pytest.param(ProgrammingError("SELECT 1", {}, DriverError("42P01")), DatabaseError, id="no such table"),
        pytest.param(sqlite3.DatabaseError("malformed"), DatabaseError, id="sqlite file damaged"),
        pytest.param(IntegrityError("SELECT 1", {}, DriverError("23505")), ConstraintViolated, id="unique"),
        pytest.param(sqlite3.IntegrityError("UNIQUE"), ConstraintViolated, id="sqlite unique"),
    ],
)
def test_driver_error_is_translated_by_kind(error: Exception, expected: type[DatabaseError]) -> None:
    with pytest.raises(DatabaseError) as raised, translate_driver_errors():
        raise error
    assert type(raised.value) is expected
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [ConnectionResetError("Cannot write to closing transport"), TimeoutError(), ValueError(), KeyError("id")]
)
def test_error_of_other_origin_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, translate_driver_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (dbapi_error("23505"), "the message"),
        (OperationalError("SELECT 1", {}, Exception("<class 'asyncpg.X'>: too many")), "too many"),
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(), "ConnectionRefusedError"),
    ],
)
def test_message_is_first_line_of_driver(error: Exception, message: str) -> None:
    assert driver_message(error) == message


async def connect(url: str) -> None:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        with translate_driver_errors():
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()


async def test_refused_database_connection_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        await connect(f"postgresql://nobody@{HOST}:{free_port()}/nothing")
    assert isinstance(raised.value.__cause__, OSError)


async def test_refused_other_connection_passes_unchanged() -> None:
    with pytest.raises(ConnectionRefusedError), translate_driver_errors():
        await asyncio.open_connection(HOST, free_port())


async def test_connection_limit_is_unavailable(postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    try:
        with pytest.raises(DatabaseUnavailable, match="too many connections"):
            await connect(f"postgresql://crowd@{HOST}:{postgres.port}/postgres")
    finally:
        postgres.execute("DROP ROLE crowd")
