"""Limits concurrent operations, in total and for each client, so that one client does not block the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class LimitReached(Exception):
    """No slot became free in time."""


class ConcurrencyLimit:
    """A semaphore with a limit for each client.

    Args:
        in_all: the number of slots.
        of_one: the number of slots that one client may hold.
        patience_s: how long an operation waits for a slot, in seconds.
    """

    def __init__(self, *, in_all: int, of_one: int, patience_s: float) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._of_one = of_one
        self._patience_s = patience_s
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """The semaphores of the clients that hold a slot or wait for one."""

    @asynccontextmanager
    async def taken(self, who: str | None) -> AsyncIterator[None]:
        """Hold one slot inside the block.

        Args:
            who: the key of the client; None for a client without a limit of its own.

        Raises:
            LimitReached: no slot became free in time.
        """
        own = [self._of.setdefault(who, asyncio.Semaphore(self._of_one))] if who is not None else []
        async with AsyncExitStack() as slots:
            try:
                async with asyncio.timeout(self._patience_s):
                    for each in (*own, self._in_all):
                        await slots.enter_async_context(each)
            except TimeoutError as error:
                raise LimitReached from error
            yield
