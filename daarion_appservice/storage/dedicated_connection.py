"""A connection kept for one purpose, for what is done so often that the way through the pool would cost more than the deed.

One at a time; others wait for their turn.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


class PostgresDedicatedConnection:
    """Each statement is a transaction by itself: one way to the server and back."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection]]) -> None:
        """``connect`` gives a connection that begins nothing by itself."""
        self._connect = connect
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def ask(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        """The one value that ``statement`` answers. Raises SQLAlchemyError or OSError when the server is away."""
        async with self._turn:
            try:
                connection = await self._open()
                value = (await connection.exec_driver_sql(statement, parameters)).scalar_one()
                # For SQLAlchemy, to whom each statement begins something; it asks the server nothing.
                await connection.rollback()
            except BaseException:
                await self.close()
                raise
            return value

    async def close(self) -> None:
        """It opens again by itself when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError):
                await connection.invalidate()
            await connection.close()

    async def _open(self) -> AsyncConnection:
        if self._connection is not None and await _is_closed(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection


async def _is_closed(connection: AsyncConnection) -> bool:
    """Whether the server, or the way to it, has ended; asks nobody."""
    driver = (await connection.get_raw_connection()).driver_connection
    return driver is None or bool(driver.is_closed())


class SqliteDedicatedConnection:
    """All that is to be done with it is done in one turn of a thread of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """``connect`` gives a connection that begins nothing by itself."""
        self.opened = 0
        """How often it was."""
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._thread = _thread()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Raises SQLAlchemy's OperationalError when the file cannot be used, DatabaseError when it is damaged."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        """It opens again by itself when it is needed."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        self._thread = _thread()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self.opened += 1
            return work(self._connection)
        except sqlite3.OperationalError as error:
            raise OperationalError(None, None, error) from error
        except sqlite3.DatabaseError as error:
            # A damaged file, among others: no fault of the caller's, who expects SQLAlchemy's errors.
            raise DatabaseError(None, None, error) from error

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "sqlite")
