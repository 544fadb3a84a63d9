"""A cache of values read from the database, valid until the next commit of any process.

    get ─► committed since? (one short query for all concurrent callers)
             ├─ no ──► the cached value
             └─ yes ─► same rows? (`fingerprint`, a query that is cheaper than loading, where there is one)
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
_MIN_VALUES: Final = 16
"""At least this many values fit: a value larger than its share of ``MAX_BYTES`` is not cached."""

T = TypeVar("T")

Fingerprint = Callable[[], Coroutine[Any, Any, object]]
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

    def __init__(self, connection: PostgresDedicatedConnection) -> None:
        self._connection = connection

    async def now(self) -> Hashable:
        return str(await self._connection.fetch_value("SELECT pg_current_snapshot()::text"))


class SqliteVersion:
    """SQLite's ``data_version``, which changes when another connection commits; this connection writes nothing.

    Versions are comparable only if they come from the same connection.
    """

    def __init__(self, connection: SqliteDedicatedConnection) -> None:
        self._connection = connection

    async def now(self) -> Hashable:
        version = await self._connection.run(_data_version)
        return self._connection.opened, version


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


@dataclass(frozen=True, slots=True)
class _Cached:
    version: Hashable
    value: Any
    size: int
    rows: object = None
    """The result of ``fingerprint``, equal before and after loading."""


class ReadCache:
    """An LRU cache whose values are valid for one version of the database."""

    def __init__(self, version: DatabaseVersion, *, max_bytes: int = MAX_BYTES) -> None:
        self._version = version
        self._turn = asyncio.Lock()
        self._next_version: asyncio.Task[Hashable] | None = None
        """The query that has not begun yet: valid for every caller that arrives before it does."""
        self._cached: OrderedDict[Hashable, _Cached] = OrderedDict()
        """The most recently used value is at the end."""
        self._size = 0
        self._max_bytes = max_bytes
        self._loading: dict[tuple[Hashable, Hashable], asyncio.Task[Any]] = {}

    async def get(
        self,
        key: Hashable,
        load: Callable[[], Coroutine[Any, Any, T]],
        size: Callable[[T], int],
        fingerprint: Fingerprint | None = None,
    ) -> T:
        """Return the cached value of ``key``, or the result of ``load`` if the database has changed since.

        Args:
            load: reads the value; concurrent callers of the same key share one call.
            size: returns the bytes that a value counts for.
            fingerprint: returns a value that changes whenever the value does; cheaper than ``load``.

        Raises:
            DatabaseError: the database does not answer; also every exception of ``load``.
        """
        version = await self._current_version()
        cached = self._cached.get(key)
        if cached is not None and cached.version == version:
            self._cached.move_to_end(key)
            value: T = cached.value
            return value
        loading = self._loading.get((key, version))
        if loading is None:
            loading = self._loading[key, version] = asyncio.create_task(
                self._load(key, version, load, size, fingerprint)
            )
        return cast("T", await asyncio.shield(loading))

    async def _current_version(self) -> Hashable:
        # A query that is running may have been answered before the commit that the caller knows of.
        if self._next_version is None:
            self._next_version = asyncio.create_task(self._query_version())
        return await asyncio.shield(self._next_version)

    async def _query_version(self) -> Hashable:
        async with self._turn:
            self._next_version = None
            return await self._version.now()

    async def _load(
        self,
        key: Hashable,
        version: Hashable,
        load: Callable[[], Coroutine[Any, Any, T]],
        size: Callable[[T], int],
        fingerprint: Fingerprint | None,
    ) -> T:
        try:
            rows = await fingerprint() if fingerprint else None
            cached = self._cached.get(key)
            if cached is not None and rows is not None and cached.rows == rows:
                self._put(key, replace(cached, version=version))
                value: T = cached.value
                return value
            value = await load()
            if fingerprint and await fingerprint() != rows:
                rows = None  # a commit came in between: the rows of this value are unknown
        finally:
            del self._loading[key, version]
        # The value may be newer than its version, never older.
        self._put(key, _Cached(version, value, size(value), rows))
        return value

    def _put(self, key: Hashable, new: _Cached) -> None:
        if old := self._cached.pop(key, None):
            self._size -= old.size
        if new.size > self._max_bytes // _MIN_VALUES:
            return
        self._cached[key] = new
        self._size += new.size
        while self._size > self._max_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._size -= oldest.size
