"""A cache of values read from the database, checked at each use against what the value depends on.

    get ─► version of the value's room, or of the database (one short query for all concurrent callers)
             ├─ the same ─► the cached value
             └─ another ──► load again, once for all callers of the same key

A value of a room stays valid until that room changes, whatever is committed elsewhere; another value until the next
commit. A caller never gets an outdated value, whichever process changed the database: this one, another one or the
command line.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from .read_versions import VersionReader, Versions

MAX_BYTES: Final = 32 * 1024 * 1024
_MIN_VALUES: Final = 16
"""At least this many values fit: a value larger than its share of ``MAX_BYTES`` is not cached."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Cached:
    version: Hashable
    value: Any
    size: int


@dataclass(slots=True)
class _VersionQuery:
    """A query of versions that has not started yet; callers share it until it starts."""

    result: asyncio.Task[Versions]
    rooms: set[str] = field(default_factory=set)


class ReadCache:
    """An LRU cache whose values are valid for one version of a room or of the database."""

    def __init__(self, versions: VersionReader, *, max_bytes: int = MAX_BYTES) -> None:
        self._versions = versions
        self._turn = asyncio.Lock()
        self._next_query: _VersionQuery | None = None
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
        *,
        room: str | None = None,
    ) -> T:
        """Return the cached value of ``key``, or the result of ``load`` if what it depends on has changed since.

        Args:
            key: identifies the value.
            load: reads the value; concurrent callers of the same key share one call.
            size: returns the bytes that a value counts for.
            room: the id or slug of the room, of whose row and messages alone the value is made; None for a value that
                may depend on the whole database.

        Raises:
            DatabaseError: the database does not answer; also every exception of ``load``.
        """
        version = await self._version(room)
        cached = self._cached.get(key)
        if cached is not None and cached.version == version:
            self._cached.move_to_end(key)
            value: T = cached.value
            return value
        loading = self._loading.get((key, version))
        if loading is None:
            loading = self._loading[key, version] = asyncio.create_task(self._load(key, version, load, size))
        return cast("T", await asyncio.shield(loading))

    async def _version(self, room: str | None) -> Hashable:
        # A query that is running may have been answered before the commit that the caller knows of.
        query = self._next_query
        if query is None:
            query = self._next_query = _VersionQuery(asyncio.create_task(self._query_versions()))
        if room is not None:
            query.rooms.add(room)
        versions = await asyncio.shield(query.result)
        return versions.database if room is None else versions.rooms[room]

    async def _query_versions(self) -> Versions:
        async with self._turn:
            query, self._next_query = self._next_query, None
            assert query is not None
            return await self._versions.read(query.rooms)

    async def _load(
        self,
        key: Hashable,
        version: Hashable,
        load: Callable[[], Coroutine[Any, Any, T]],
        size: Callable[[T], int],
    ) -> T:
        try:
            value = await load()
        finally:
            del self._loading[key, version]
        # The value may be newer than its version, never older.
        self._put(key, _Cached(version, value, size(value)))
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
