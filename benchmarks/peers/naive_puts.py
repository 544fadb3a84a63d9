"""Presence of ghosts by a naive loop: every 20 s it PUTs every ghost that is not offline, all at once.

It accepts the same bulk heartbeats as this service.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import aiohttp
import orjson
import uvloop
from aiohttp import web

HOST: Final = "127.0.0.1"
PERIOD_S: Final = 20.0
_ON_MATRIX: Final = {"online": "online", "away": "unavailable"}


class NaivePuts:
    def __init__(self, homeserver: str, as_token: str, server_name: str) -> None:
        self._homeserver = homeserver
        self._headers = {"Authorization": f"Bearer {as_token}"}
        self._server_name = server_name
        self._status: dict[str, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        for beat in orjson.loads(await request.read())["heartbeats"]:
            self._status[beat["agent_id"]] = beat.get("status", "online")
        return web.json_response({})

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._status:
            await asyncio.sleep(0.1)
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                next_s = loop.time() + PERIOD_S
                await asyncio.gather(*(self._put(session, *each) for each in self._status.items()))
                await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def _put(self, session: aiohttp.ClientSession, slug: str, status: str) -> None:
        user = f"@agent_{slug}:{self._server_name}"
        url = f"{self._homeserver}/_matrix/client/v3/presence/{user}/status"
        async with session.put(url, params={"user_id": user}, json={"presence": _ON_MATRIX[status]}) as answer:
            answer.raise_for_status()


async def serve(port: int, homeserver: str, as_token: str, server_name: str) -> None:
    ghosts = NaivePuts(homeserver, as_token, server_name)
    app = web.Application()
    app.router.add_post("/api/v1/agents/heartbeats", ghosts.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    await ghosts.run()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), *sys.argv[2:]))
