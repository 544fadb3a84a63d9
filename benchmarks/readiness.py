"""The wait until a service under test has checked its homeserver and its rooms."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from tests.parts.ports import HOST

from .contenders import City

_READY_S: Final = 120.0


async def ready(city: City) -> None:
    """Wait until ``/readyz`` answers 200.

    Raises:
        RuntimeError: the service ended; with its last log lines.
        TimeoutError: it is not ready within two minutes.
    """
    async with asyncio.timeout(_READY_S), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://{HOST}:{city.matrix_port}/readyz") as answer:
                if answer.status == 200:
                    return
            if not city.child.running:
                raise RuntimeError("\n".join(city.child.last_lines(30)))
            await asyncio.sleep(0.2)
