"""How many calls there may be at the same time: in all, and of each agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from ..errors import CoreBusy


class Slots:
    """``patience_s``: how long one waits for others to end."""

    def __init__(self, *, in_all: int, per_agent: int, patience_s: float) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._per_agent = per_agent
        self._patience_s = patience_s
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Of agents who are being asked."""

    @asynccontextmanager
    async def taken(self, agent_id: str) -> AsyncIterator[None]:
        """One slot, for as long as the block lasts. Raises CoreBusy."""
        of_agent = self._of.setdefault(agent_id, asyncio.Semaphore(self._per_agent))
        await self._take(of_agent)
        try:
            yield
        finally:
            self._in_all.release()
            of_agent.release()

    async def _take(self, of_agent: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await of_agent.acquire()
                try:
                    await self._in_all.acquire()
                except BaseException:
                    of_agent.release()
                    raise
        except TimeoutError as error:
            raise CoreBusy(retry_after_s=self._patience_s) from error
