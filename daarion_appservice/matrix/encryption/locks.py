"""One asyncio lock for each ghost: its account and Olm sessions change by one task at a time."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from weakref import WeakValueDictionary

from ...city.types import UserId


class GhostLocks:
    """The locks of ghosts that are in use."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    def of(self, ghost: UserId) -> AbstractAsyncContextManager[None]:
        """Return the lock of a ghost; it is not reentrant."""
        return self._locks.setdefault(ghost, asyncio.Lock())
