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
        total: the number of slots.
        per_client: the number of slots that one client may hold.
        timeout_s: how long an operation waits for a slot, in seconds.
    """

    def __init__(self, *, total: int, per_client: int, timeout_s: float) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_client = per_client
        self._timeout_s = timeout_s
        self._clients: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """The semaphores of the clients that hold a slot or wait for one."""

    @asynccontextmanager
    async def acquired(self, client: str | None) -> AsyncIterator[None]:
        """Hold one slot inside the block.

        Args:
            client: the key of the client; None for a client without a limit of its own.

        Raises:
            LimitReached: no slot became free in time.
        """
        own = [self._clients.setdefault(client, asyncio.Semaphore(self._per_client))] if client is not None else []
        async with AsyncExitStack() as slots:
            try:
                async with asyncio.timeout(self._timeout_s):
                    for each in (*own, self._total):
                        await slots.enter_async_context(each)
            except TimeoutError as error:
                raise LimitReached from error
            yield
