"""Deferred writes: INSERT, UPDATE and DELETE statements that are sent with the next statement of their transaction.

Their results are not read, so that they need no round trip to the database of their own.

    INSERT … DEFERRED ─► deferred     SELECT … ─► deferred writes, then SELECT     commit ─► deferred writes, then COMMIT

Every later statement of the transaction sees what was written before it, as if each write had been executed at once. An
error of a deferred write is raised by the statement that it was sent with, or by the commit.

On SQLite the thread of the connection executes all of them in one call (`sqlite_engine`). PostgreSQL executes several writes
as one statement, of which all but the last are common table expressions. These do not see each other's rows, so a second
write to a table sends the first one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

_OPTION: Final = "daarion_deferred"
_PARAMETER: Final = re.compile(r"\$(\d+)")

DEFERRED: Final[dict[str, bool]] = {_OPTION: True}
"""The execution option of a deferred write: an INSERT (``inline``), UPDATE or DELETE of a single row."""

WITHOUT_TRANSACTION: Final[dict[str, bool]] = {"daarion_without_transaction": True}
"""The execution option of connections without transactions, whose end would forget a deferred write."""

MERGED: Final = "daarion_merged"
"""The execution option of a statement that is made of deferred writes."""


class _Write(NamedTuple):
    table: str
    statement: str
    parameters: tuple[Any, ...]


def is_deferred(context: Any) -> bool:
    """Return whether the statement of an execution context is a deferred write.

    Raises:
        RuntimeError: it is one, and the connection has no transaction that would execute it.
    """
    options = context.execution_options
    if not options.get(_OPTION):
        return False
    if options.keys() & WITHOUT_TRANSACTION:
        raise RuntimeError("a deferred write needs a transaction")
    return True


def defer_writes(engine: Engine) -> None:
    """Have a PostgreSQL engine execute deferred writes with the next statement or the commit."""
    pending = _PendingWrites()
    event.listen(engine, "do_execute", pending.execute)
    event.listen(engine, "do_executemany", pending.send_before_many)
    event.listen(engine, "do_execute_no_params", pending.send_before_plain)
    event.listen(engine, "commit", pending.send_before_commit)
    event.listen(engine, "rollback", pending.forget)


class _PendingWrites:
    """The deferred writes of the transactions of an engine, as listeners of its events."""

    def __init__(self) -> None:
        self._writes: WeakKeyDictionary[Connection, list[_Write]] = WeakKeyDictionary()

    def execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        """Store a deferred write and return True; for another statement return False, so that SQLAlchemy executes it."""
        if not is_deferred(context):
            self._send(cursor, context)
            return False
        table = str(context.invoked_statement.table.name)
        if any(write.table == table for write in self._writes.get(context.root_connection, ())):
            self._send(cursor, context)
        write = _Write(table, statement, tuple(parameters))
        self._writes.setdefault(context.root_connection, []).append(write)
        return True

    def send_before_many(self, cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
        self._send(cursor, context)

    def send_before_plain(self, cursor: Any, _statement: str, context: Any) -> None:
        self._send(cursor, context)

    def send_before_commit(self, connection: Connection) -> None:
        if writes := self._writes.pop(connection, None):
            connection.exec_driver_sql(*_merged(writes), execution_options={MERGED: True})

    def forget(self, connection: Connection) -> None:
        self._writes.pop(connection, None)

    def _send(self, cursor: Any, context: Any) -> None:
        if writes := self._writes.pop(context.root_connection, None):
            cursor.execute(*_merged(writes))


def _merged(writes: list[_Write]) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that executes the writes, with its parameters."""
    statement = joined(tuple((write.statement, len(write.parameters)) for write in writes))
    return statement, tuple(value for write in writes for value in write.parameters)


@lru_cache(maxsize=256)
def joined(writes: tuple[tuple[str, int], ...]) -> str:
    """Return one statement of PostgreSQL that executes several writes.

    Args:
        writes: the text of each write, with parameters ``$1``, ``$2``, …, and their number.
    """
    texts: list[str] = []
    count = 0
    for statement, parameters in writes:
        texts.append(_PARAMETER.sub(_shifted(count), statement))
        count += parameters
    *others, last = texts
    if not others:
        return last
    named = ", ".join(f"write_{number} AS ({text})" for number, text in enumerate(others, 1))
    return f"WITH {named} {last}"


def _shifted(count: int) -> Any:
    return lambda found: f"${int(found[1]) + count}"
