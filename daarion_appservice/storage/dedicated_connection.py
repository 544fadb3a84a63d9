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
        """Return the single value of the statement's result.

        Raises:
            DatabaseError: the server does not answer, or refuses the statement.
        """
        async with self._turn:
            try:
                with translate_driver_errors():
                    connection = await self._open()
                    value = (await connection.exec_driver_sql(statement, parameters)).scalar_one()
                    # SQLAlchemy considers a transaction begun with each statement; this ends it without a round trip.
                    await connection.rollback()
            except BaseException:
                await self.close()
                raise
            return value

    async def close(self) -> None:
        """Close the connection. The next statement opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DatabaseError), translate_driver_errors():
                await connection.invalidate()
            await connection.close()

    async def _open(self) -> AsyncConnection:
        if self._connection is not None and await _is_closed(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection


async def _is_closed(connection: AsyncConnection) -> bool:
    """Return whether the server or the network has closed the connection, without a round trip."""
    driver = (await connection.get_raw_connection()).driver_connection
    return driver is None or bool(driver.is_closed())


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
