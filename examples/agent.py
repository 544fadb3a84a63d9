"""An agent in one file: sends heartbeats while it runs and replies to requests. Needs Python 3.11 and aiohttp only.

    CITY_URL=http://localhost:7001 AGENT_SLUG=scribe AGENT_TOKEN=agt_… python examples/agent.py

The city sends requests to POST /agents/$AGENT_SLUG/invoke if ``agents_core.url`` is http://$AGENT_HOST:$AGENT_PORT.
"""

import asyncio
import logging
import os
import signal

import aiohttp
from aiohttp import web

SLUG = os.environ["AGENT_SLUG"]
SESSION_ID = os.urandom(8).hex()


async def invoke(request: web.Request) -> web.Response:
    """Reply to a request: ``input`` is the message, ``context`` has its author, room and history. Put your model here."""
    body = await request.json()
    return web.json_response({"output": f"I am {SLUG}, and you wrote: {body['input']}"})


async def send_heartbeat(city: aiohttp.ClientSession, status: str) -> float:
    """Send a heartbeat with this status; return the seconds until the next one is due."""
    body = {"status": status, "status_msg": "at your service", "session_id": SESSION_ID}
    async with city.post(f"/api/v1/agents/{SLUG}/heartbeat", json=body, raise_for_status=True) as response:
        return ((await response.json())["next_heartbeat_ms"] or 0) / 1000


async def send_heartbeats(city: aiohttp.ClientSession) -> None:
    while True:
        try:
            await asyncio.sleep(await send_heartbeat(city, "online"))
        except (aiohttp.ClientError, TimeoutError) as error:
            logging.warning("the heartbeat failed and is sent again in 2 seconds: %s", error)
            await asyncio.sleep(2)


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app := web.Application())
    app.router.add_post(f"/agents/{SLUG}/invoke", invoke)
    await runner.setup()
    await web.TCPSite(runner, os.getenv("AGENT_HOST", "127.0.0.1"), int(os.getenv("AGENT_PORT", "7026"))).start()
    headers, timeout = {"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"}, aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(os.environ["CITY_URL"], headers=headers, timeout=timeout) as city:
        heartbeats = asyncio.create_task(send_heartbeats(city))
        await stop.wait()
        heartbeats.cancel()
        await asyncio.gather(heartbeats, send_heartbeat(city, "offline"), runner.cleanup(), return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
