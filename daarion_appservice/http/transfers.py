"""How many files may be on their way at the same time; of one asker only a part of them: slow ones hold up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from ..errors import Unavailable

_SHARE: Final = 4
"""One asker has a quarter of the places at most."""
_PATIENCE_S: Final = 15.0
"""How long somebody waits for their turn."""
_RETRY_S: Final = 5.0


@dataclass(slots=True)
class _Asker:
    places: asyncio.Semaphore
    transfers: int = field(default=0)
    """Under way or waiting."""


class Transfers:
    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._share = max(1, at_once // _SHARE)
        self._askers: dict[str, _Asker] = {}

    @asynccontextmanager
    async def place(self, who: str | None) -> AsyncIterator[None]:
        """For one transfer, while the block lasts; ``who`` is None for somebody who is not counted. Raises Unavailable."""
        if who is None:
            async with _turn(self._places):
                yield
            return
        asker = self._askers.setdefault(who, _Asker(asyncio.Semaphore(self._share)))
        asker.transfers += 1
        try:
            async with _turn(asker.places), _turn(self._places):
                yield
        finally:
            asker.transfers -= 1
            if not asker.transfers:
                del self._askers[who]


@asynccontextmanager
async def _turn(places: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await places.acquire()
    except TimeoutError:
        raise Unavailable(
            "media_busy", "too many files are on their way at the moment; try again", retry_after_s=_RETRY_S
        ) from None
    try:
        yield
    finally:
        places.release()
