"""A cache of values read from the database, valid until the next commit of any process.

    get ─► committed since? (one short query for all concurrent callers)
             ├─ no ──► the cached value
             └─ yes ─► same rows? (`look`, a query that is cheaper than loading, where there is one)
                         ├─ yes ─► the cached value
                         └─ no ──► load again, once for all callers of the same key

A caller never gets an outdated value, whichever process changed the database: this one, another one or the command
line.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar, cast

from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection

MAX_BYTES: Final = 32 * 1024 * 1024
_MIN_KEPT: Final = 16
"""At least this many values fit: a value larger than its share of ``MAX_BYTES`` is not cached."""

T = TypeVar("T")

Look = Callable[[], Coroutine[Any, Any, object]]
"""Returns a value that stays equal as long as loading the cached value would give the same result."""


class DatabaseVersion(Protocol):
    """Reads the version of the database; there is one implementation for each database."""

    async def now(self) -> Hashable:
        """Return a value that identifies a state of the database.

        Two values are equal if and only if nothing was committed in between.
        """


class PostgresVersion:
    """The current snapshot: the set of visible transactions.

    Transactions that write nothing have no id and do not change it.
    """

    def __init__(self, line: PostgresDedicatedConnection) -> None:
        self._line = line

    async def now(self) -> Hashable:
        return str(await self._line.ask("SELECT pg_current_snapshot()::text"))


class SqliteVersion:
    """SQLite's ``data_version``, which changes when another connection commits; this connection writes nothing.

    Versions are comparable only if they come from the same connection.
    """

    def __init__(self, line: SqliteDedicatedConnection) -> None:
        self._line = line

    async def now(self) -> Hashable:
        version = await self._line.run(_data_version)
        return self._line.opened, version


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: Hashable
    value: Any
    size: int
    rows: object = None
    """The result of ``look``, equal before and after loading."""


class ReadCache:
    """An LRU cache whose values are valid for one version of the database."""

    def __init__(self, stamp: DatabaseVersion, *, max_bytes: int = MAX_BYTES) -> None:
        self._stamp = stamp
        self._turn = asyncio.Lock()
        self._next_stamp: asyncio.Task[Hashable] | None = None
        """The query that has not begun yet: valid for every caller that arrives before it does."""
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        """The most recently used value is at the end."""
        self._size = 0
        self._max_bytes = max_bytes
        self._loading: dict[tuple[Hashable, Hashable], asyncio.Task[Any]] = {}

    async def get(
        self,
        key: Hashable,
        load: Callable[[], Coroutine[Any, Any, T]],
        size: Callable[[T], int],
        look: Look | None = None,
    ) -> T:
        """Return the cached value of ``key``, or the result of ``load`` if the database has changed since.

        Args:
            load: reads the value; concurrent callers of the same key share one call.
            size: returns the bytes that a value counts for.
            look: returns something that changes whenever the value does; cheaper than ``load``.

        Raises:
            DatabaseError: the database does not answer; also every exception of ``load``.
        """
        stamp = await self._now()
        kept = self._kept.get(key)
        if kept is not None and kept.stamp == stamp:
            self._kept.move_to_end(key)
            value: T = kept.value
            return value
        loading = self._loading.get((key, stamp))
        if loading is None:
            loading = self._loading[key, stamp] = asyncio.create_task(self._load(key, stamp, load, size, look))
        return cast("T", await asyncio.shield(loading))

    async def _now(self) -> Hashable:
        # A query that is running may have been answered before the commit that the caller knows of.
        if self._next_stamp is None:
            self._next_stamp = asyncio.create_task(self._ask())
        return await asyncio.shield(self._next_stamp)

    async def _ask(self) -> Hashable:
        async with self._turn:
            self._next_stamp = None
            return await self._stamp.now()

    async def _load(
        self,
        key: Hashable,
        stamp: Hashable,
        load: Callable[[], Coroutine[Any, Any, T]],
        size: Callable[[T], int],
        look: Look | None,
    ) -> T:
        try:
            rows = await look() if look else None
            kept = self._kept.get(key)
            if kept is not None and rows is not None and kept.rows == rows:
                self._keep(key, replace(kept, stamp=stamp))
                value: T = kept.value
                return value
            value = await load()
            if look and await look() != rows:
                rows = None  # a commit came in between: the rows of this value are unknown
        finally:
            del self._loading[key, stamp]
        # The value may be newer than its version, never older.
        self._keep(key, _Kept(stamp, value, size(value), rows))
        return value

    def _keep(self, key: Hashable, new: _Kept) -> None:
        if old := self._kept.pop(key, None):
            self._size -= old.size
        if new.size > self._max_bytes // _MIN_KEPT:
            return
        self._kept[key] = new
        self._size += new.size
        while self._size > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
