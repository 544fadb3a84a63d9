"""The engine of a SQLite database: its connections and their transactions.

aiosqlite runs every call in the connection's thread. SQLAlchemy's adapter makes four calls for a statement: open a
cursor, execute, fetch, close. Each call is a switch between two threads that share the interpreter's lock, which costs
more than most statements. The adapter of this module makes one call for a statement, and none for BEGIN, for a deferred
write (`deferred_writes`) and for a rollback without a transaction: the first two are part of the next call.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import EMPTY_DICT, await_only

from .database_url import sqlite_path
from .deferred_writes import is_deferred
from .sqlite_file import create_private, make_private

BUSY_S: Final = 30
"""How long SQLite waits for the write lock of another process (a command line beside the service), in seconds."""
BEGIN: Final = "sqlite_begin"
"""The execution option with the statement that begins a transaction; empty for connections that only read."""
_SWITCH_S: Final = 5.0
"""How long a new SQLite file is retried for write-ahead logging, in seconds."""


class _Executed(NamedTuple):
    """The result of a statement."""

    rows: list[Any]
    description: Any
    rowcount: int
    lastrowid: int | None


_NOT_EXECUTED: Final = _Executed([], None, -1, None)


class OneCallCursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that executes its statement and fetches the rows in one call of the connection's thread."""

    __slots__ = ()

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001 -- as SQLAlchemy's own cursors do
        self._rows = deque()
        self._soft_closed_memoized = EMPTY_DICT
        # The rows and attributes of the driver's cursor, which is closed right after the statement.
        self._cursor: Any = _NOT_EXECUTED

    def execute(self, operation: Any, parameters: Any = None) -> Any:
        self._run(partial(_execute, operation, parameters or ()))

    def executemany(self, operation: Any, seq_of_parameters: Sequence[Any]) -> Any:
        self._run(partial(_execute_many, operation, seq_of_parameters))

    def defer(self, operation: str, parameters: Any) -> None:
        """Execute a statement whose result is not read in the next call of the connection's thread."""
        connection: Any = self._adapt_connection
        connection.keep(operation, parameters)

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Do nothing: the driver's cursor is closed already."""

    def _run(self, work: Callable[[sqlite3.Connection], _Executed]) -> None:
        connection: Any = self._adapt_connection
        self._cursor = connection.run(work)
        self._rows = deque(self._cursor.rows)


class OneCallConnection(AsyncAdapt_aiosqlite_connection):
    """A connection whose cursors make one call of its thread for each statement."""

    __slots__ = ("_is_busy", "_kept")
    _cursor_cls: Any = OneCallCursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._is_busy = False
        """Whether a call has begun and its result was not received; after a cancellation it may still run."""
        self._kept: list[tuple[str, Any]] = []
        """BEGIN and the deferred writes that the next call executes first, with their parameters."""

    def keep(self, statement: str, parameters: Any = ()) -> None:
        """Execute a statement in the next call, before what that is for."""
        self._kept.append((statement, parameters))

    def run(self, work: Callable[[sqlite3.Connection], _Executed]) -> _Executed:
        """Run ``work`` in the connection's thread and return its result.

        Raises:
            sqlite3.Error: SQLite refuses the statement, or the connection is closed.
        """
        self._is_busy = True
        kept, self._kept = self._kept, []
        try:
            done = await_only(self._in_thread(partial(_execute_after, kept, work) if kept else work))
        except Exception as error:  # noqa: BLE001 -- the base class raises it again
            self._is_busy = False
            self._handle_exception(error)
        self._is_busy = False
        return done

    async def _in_thread(self, work: Callable[[sqlite3.Connection], _Executed]) -> _Executed:
        driver: Any = self._connection
        done: _Executed = await driver._execute(partial(_work_on, driver, work))  # noqa: SLF001 -- its only way into the thread
        return done

    def commit(self) -> None:
        if self._is_in_transaction or not all(statement.startswith("BEGIN") for statement, _ in self._kept):
            self.run(_commit)
        else:
            self._kept = []  # Nothing was executed in this transaction.

    def rollback(self) -> None:
        self._kept = []
        if self._is_busy or self._is_in_transaction:
            super().rollback()

    @property
    def _is_in_transaction(self) -> bool:
        driver = self._connection._connection  # noqa: SLF001 -- None once it is closed
        return driver is not None and bool(driver.in_transaction)


def sqlite_engine(url: URL) -> AsyncEngine:
    """Return the engine of a SQLite database."""
    engine = create_async_engine(url, connect_args={"timeout": BUSY_S}, hide_parameters=True)
    file = sqlite_path(url)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _connect(dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        if file is not None:
            create_private(file)
        # aiosqlite's thread outlives a failed open and reports an error if the event loop is closed by then.
        sqlite3.connect(arguments[0], uri=options.get("uri", False)).close()
        opened = dialect.loaded_dbapi.connect(*arguments, **options)
        return OneCallConnection(opened.dbapi, opened.driver_connection)

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(dbapi_connection: Any, _record: object) -> None:
        set_up(dbapi_connection)
        if file is not None:
            make_private(file)

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads first and writes later fails at once if another connection wrote in between,
        # even with a long timeout. Taking the write lock at the start waits instead.
        if statement := connection.get_execution_options().get(BEGIN, "BEGIN"):
            _adapted(connection).keep(statement)

    @event.listens_for(engine.sync_engine, "do_execute")
    def _defer(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if is_deferred(context):
            cursor.defer(statement, parameters)
            return True
        return False

    return engine


def _adapted(connection: Connection) -> OneCallConnection:
    adapted = connection.connection.dbapi_connection
    assert isinstance(adapted, OneCallConnection)
    return adapted


def connect(engine: AsyncEngine) -> sqlite3.Connection:
    """Open a connection of the driver itself to the database of an engine."""
    arguments, options = engine.dialect.create_connect_args(engine.url)
    file = sqlite_path(engine.url)
    if file is not None:
        create_private(file)
    connection = sqlite3.connect(arguments[0], timeout=BUSY_S, uri=options.get("uri", False))
    set_up(connection)
    if file is not None:
        make_private(file)
    return connection


def set_up(connection: Any) -> None:
    """Set up a connection of the driver or of SQLAlchemy."""
    # The driver must not send BEGIN by itself: it does so too late for BEGIN IMMEDIATE, see _begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # a commit that has returned is on the disk
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Switch a SQLite file to write-ahead logging.

    Two processes that switch a new file at the same time each wait for the other. The busy timeout is therefore 0 and
    each process retries. A process that gave up would continue without WAL and block all others for the whole timeout.
    """
    cursor.execute("PRAGMA busy_timeout=0")
    give_up = time.monotonic() + _SWITCH_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            if cursor.fetchone()[0] != "delete":
                break
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
        if time.monotonic() > give_up:
            break  # a file system without shared memory: slower, equally safe
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 -- only to keep two processes out of step
    cursor.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")


def _work_on(driver: Any, work: Callable[[sqlite3.Connection], _Executed]) -> _Executed:
    return work(driver._conn)  # noqa: SLF001 -- raises ValueError once it is closed, which SQLAlchemy expects


def _execute_after(
    kept: list[tuple[str, Any]], work: Callable[[sqlite3.Connection], _Executed], connection: sqlite3.Connection
) -> _Executed:
    for statement, parameters in kept:
        connection.execute(statement, parameters).close()
    return work(connection)


def _commit(connection: sqlite3.Connection) -> _Executed:
    connection.commit()
    return _NOT_EXECUTED


def _execute(operation: Any, parameters: Any, connection: sqlite3.Connection) -> _Executed:
    return _fetched(connection.execute(operation, parameters))


def _execute_many(operation: Any, parameters: Sequence[Any], connection: sqlite3.Connection) -> _Executed:
    return _fetched(connection.executemany(operation, parameters))


def _fetched(cursor: sqlite3.Cursor) -> _Executed:
    rows = cursor.fetchall() if cursor.description else []
    done = _Executed(rows, cursor.description, cursor.rowcount, cursor.lastrowid)
    cursor.close()
    return done
