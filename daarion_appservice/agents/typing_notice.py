"""An agent is seen typing while its answer is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ..city.events import LocalUserTyping
from ..city.ports import Publish
from ..city.types import Author, RoomId

_AGAIN_S: Final = 5.0


@asynccontextmanager
async def typing(publish: Publish, room: RoomId, author: Author) -> AsyncIterator[None]:
    """Show ``author`` typing in ``room`` for as long as the block takes."""
    task = asyncio.create_task(_keep_typing(publish, room, author))
    try:
        yield
    finally:
        task.cancel()
        publish(LocalUserTyping(room, author, typing=False))


async def _keep_typing(publish: Publish, room: RoomId, author: Author) -> None:
    while True:
        publish(LocalUserTyping(room, author, typing=True))
        await asyncio.sleep(_AGAIN_S)
