"""What was read, kept for as long as nothing is stored: most of what is asked for was asked for a moment ago.

    asked ─► was anything stored since? (one short question for all who ask at the same time)
                ├─ no ──► what was read then
                └─ yes ─► is it still made of the same rows? (a look that is shorter than reading, where there is one)
                             ├─ yes ─► what was read then
                             └─ no ──► read anew, once for all who ask for the same

So nobody is told what no longer holds, whoever has changed it: this process, another one, or the command line.
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
"""So many values fit at least: what is larger than its share is not kept."""

T = TypeVar("T")

Look = Callable[[], Coroutine[Any, Any, object]]
"""Gives what is equal as long as what is remembered would be read the same."""


class DatabaseVersion(Protocol):
    async def now(self) -> Hashable:
        """What tells one state of the database from another: equal if and only if nothing was committed in between."""


class PostgresVersion:
    """A snapshot: which transactions are visible. Those that write nothing have no number and change nothing of it."""

    def __init__(self, line: PostgresDedicatedConnection) -> None:
        self._line = line

    async def now(self) -> Hashable:
        return str(await self._line.ask("SELECT pg_current_snapshot()::text"))


class SqliteVersion:
    """A number that changes whenever another connection than the one asked has committed; this one writes nothing.

    It is good among the answers of one connection only.
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
    """What the short look gave, before and after it was read."""


class ReadCache:
    def __init__(self, stamp: DatabaseVersion, *, max_bytes: int = MAX_BYTES) -> None:
        self._stamp = stamp
        self._turn = asyncio.Lock()
        self._next_stamp: asyncio.Task[Hashable] | None = None
        """Not asked for yet: good for whoever comes now."""
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        """What was asked for last is at the end."""
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
        """What ``load`` gives, or gave when ``key`` was last asked for, if nothing was stored since.

        ``size`` is how many bytes to reckon with for it. Raises what ``load`` does, and what the database raises when it
        is away.
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
        # A question that is under way may have been answered before what the asker knows of was stored.
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
                rows = None  # somebody wrote meanwhile: of which rows it was made is not known
        finally:
            del self._loading[key, stamp]
        # It may be newer than the stamp, never older.
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
