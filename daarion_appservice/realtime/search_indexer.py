"""Indexes the messages from before the search index existed, the newest first, in small transactions."""

from __future__ import annotations

from typing import Final

import structlog

from ..city.types import MessageId
from ..storage.database import Database
from .worker import Worker

_BATCH: Final = 200
"""Messages in one transaction: the others that want to write wait for it."""
_PAUSE_S: Final = 0.05

log = structlog.get_logger()


class SearchIndexer:
    """Fills the search index once; a process that is stopped meanwhile continues where it was."""

    def __init__(self, database: Database, *, pause_s: float = _PAUSE_S) -> None:
        self._database = database
        self._pause_s = pause_s
        self._worker = Worker("search_indexer", idle_s=None)

    async def run(self) -> None:
        """Index all messages, then wait until cancelled."""
        await self._worker.run(self._index)

    async def _index(self) -> float | None:
        return None if await self._index_batch() else self._pause_s

    async def _index_batch(self) -> bool:
        """Index the next messages; return whether there are no more."""
        async with self._database.transaction() as tx:
            position = await tx.key_values.search_position()
            if position.is_complete:
                return True
            batch = await tx.search.some_before(position.before, limit=_BATCH)
            await tx.search.add(batch)
            last = MessageId(batch[-1].id) if batch else None
            await tx.key_values.put_search_position(last)
        if last is None:
            log.info("search_index_complete")
        return last is None
