"""The naive design: each heartbeat is one ``SETEX`` and one broadcast to every client.

On aiohttp, redis-py and uvloop. It does less than it should: a broadcast is encoded once, and "offline" is never sent.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import orjson
import uvloop
from aiohttp import ClientConnectionError, web
from redis.asyncio import Redis

HOST: Final = "127.0.0.1"
TTL_S: Final = 40


class PresenceChannel:
    """``/ws/city/presence``"""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._open.add(socket)
        try:
            async for message in socket:
                event = orjson.loads(message.data)
                if event["event"] == "presence.heartbeat":
                    await self._beat(event["user_id"])
        finally:
            self._open.discard(socket)
        return socket

    async def _beat(self, user_id: str) -> None:
        await self._redis.set(f"presence:{user_id}", "online", ex=TTL_S)
        update = orjson.dumps({"event": "presence.update", "user_id": user_id, "status": "online"}).decode()
        for socket in list(self._open):
            try:
                await socket.send_str(update)
            except (ConnectionError, ClientConnectionError):
                self._open.discard(socket)


async def serve(port: int, redis_url: str) -> None:
    channel = PresenceChannel(Redis.from_url(redis_url))
    app = web.Application()
    app.router.add_get("/ws/city/presence", channel.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
