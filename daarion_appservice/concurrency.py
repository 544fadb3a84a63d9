"""How many of something there may be at the same time: in all, and of each one who wants them, so that one holds up no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class LimitReached(Exception):
    """None became free in time."""


class ConcurrencyLimit:
    """``of_one``: how many of ``in_all`` one may have; ``patience_s``: how long one waits for others to end."""

    def __init__(self, *, in_all: int, of_one: int, patience_s: float) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._of_one = of_one
        self._patience_s = patience_s
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Of those who have some, or wait."""

    @asynccontextmanager
    async def taken(self, who: str | None) -> AsyncIterator[None]:
        """One slot, for as long as the block lasts; ``who`` is None for somebody who is not counted. Raises LimitReached."""
        own = [self._of.setdefault(who, asyncio.Semaphore(self._of_one))] if who is not None else []
        async with AsyncExitStack() as slots:
            try:
                async with asyncio.timeout(self._patience_s):
                    for each in (*own, self._in_all):
                        await slots.enter_async_context(each)
            except TimeoutError as error:
                raise LimitReached from error
            yield
