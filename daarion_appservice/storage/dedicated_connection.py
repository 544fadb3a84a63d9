"""Connections outside the pool, for operations so frequent that the way through the pool would dominate their cost.

Operations run one at a time; concurrent callers wait for their turn.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import DatabaseError
from .driver_errors import translate_driver_errors

T = TypeVar("T")


class PostgresDedicatedConnection:
    """A PostgreSQL connection in autocommit mode: each statement is a transaction and takes one round trip."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection]]) -> None:
        """``connect`` returns a connection that sends no BEGIN by itself."""
        self._connect = connect
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def fetch_value(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        """Return the first value of the statement's result.

        Raises:
            DatabaseError: the server does not answer, or refuses the statement.
        """
        return (await self.fetch_rows(statement, parameters))[0][0]

    async def fetch_rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of the statement's result.

        Raises:
            DatabaseError: the server does not answer, or refuses the statement.
        """
        async with self._turn:
            try:
                with translate_driver_errors():
                    # The driver itself prepares each statement once; through SQLAlchemy it takes six times as long.
                    rows: list[Any] = await (await self._open()).fetch(statement, *parameters)
            except BaseException:
                await self.close()
                raise
            return rows

    async def close(self) -> None:
        """Close the connection. The next statement opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DatabaseError), translate_driver_errors():
                await connection.invalidate()
            await connection.close()

    async def _open(self) -> Any:
        """Return the driver's connection, opened again if the server or the network has closed it."""
        if self._connection is not None and (driver := await _driver_connection(self._connection)) is not None:
            return driver
        await self.close()
        self._connection = await self._connect()
        return await _driver_connection(self._connection)


async def _driver_connection(connection: AsyncConnection) -> Any:
    """Return the connection of asyncpg; None if it is closed."""
    driver = (await connection.get_raw_connection()).driver_connection
    return None if driver is None or driver.is_closed() else driver


class SqliteDedicatedConnection:
    """A SQLite connection with a thread of its own, in which each operation runs as one call."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """``connect`` returns a connection that sends no BEGIN by itself."""
        self.opened = 0
        """How many times the connection was opened."""
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._thread = _thread()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the connection's thread and return its result.

        Raises:
            DatabaseUnavailable: the file cannot be used.
            DatabaseError: the file is damaged.
        """
        with translate_driver_errors():
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        """Close the connection and end its thread. The next operation opens it again."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        self._thread = _thread()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._connect()
            self.opened += 1
        return work(self._connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "sqlite")
