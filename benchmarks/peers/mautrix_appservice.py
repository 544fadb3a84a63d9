"""mautrix's ``AppService`` on uvloop: it parses transactions, dispatches their events in memory and responds; it stores nothing.

It has the default handler, which tracks memberships; the request log is off.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import uvloop
from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client.state_store import MemoryStateStore

HOST: Final = "127.0.0.1"


class StateStore(MemoryStateStore, ASStateStore):
    """The state of rooms, in memory."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


async def serve(port: int, server_name: str, as_token: str, hs_token: str) -> None:
    service = AppService(
        server="http://127.0.0.1:1",
        domain=server_name,
        as_token=as_token,
        hs_token=hs_token,
        bot_localpart="bot",
        id="peer",
        state_store=StateStore(),
        aiohttp_params={"client_max_size": 1 << 26},
    )
    await service.start(HOST, port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), *sys.argv[2:]))
