"""Typing notices of an agent while its reply is generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ..city.events import LocalUserTyping
from ..city.ports import Publish
from ..city.types import Author, RoomId

_REPEAT_INTERVAL_S: Final = 5.0


@asynccontextmanager
async def typing(publish: Publish, room: RoomId, author: Author) -> AsyncIterator[None]:
    """Show ``author`` as typing in ``room`` while the block runs."""
    task = asyncio.create_task(_keep_typing(publish, room, author))
    try:
        yield
    finally:
        task.cancel()
        publish(LocalUserTyping(room, author, typing=False))


async def _keep_typing(publish: Publish, room: RoomId, author: Author) -> None:
    while True:
        publish(LocalUserTyping(room, author, typing=True))
        await asyncio.sleep(_REPEAT_INTERVAL_S)
