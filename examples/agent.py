"""An agent of the city in one file: online while it runs, and it answers. Needs Python 3.11 and aiohttp, nothing else.

    CITY_URL=http://localhost:7001 AGENT_SLUG=scribe AGENT_TOKEN=agt_… python examples/agent.py

The city asks at POST http://$AGENT_HOST:$AGENT_PORT/agents/$AGENT_SLUG/invoke, which is the address of its agents core.
"""

import asyncio
import logging
import os
import signal

import aiohttp
from aiohttp import web

SLUG = os.environ["AGENT_SLUG"]
SESSION = os.urandom(8).hex()


async def answer(request: web.Request) -> web.Response:
    """Put your own mind here: ``input`` is what was said, ``context`` says by whom, where, and what was said before."""
    asked = await request.json()
    return web.json_response({"output": f"I am {SLUG}, and you said: {asked['input']}"})


async def beat(city: aiohttp.ClientSession, status: str) -> float:
    """Tell the city how we are; answers in how many seconds to say so again."""
    said = {"status": status, "status_msg": "at your service", "session_id": SESSION}
    async with city.post(f"/api/v1/agents/{SLUG}/heartbeat", json=said, raise_for_status=True) as told:
        return ((await told.json())["next_heartbeat_ms"] or 0) / 1000


async def live(city: aiohttp.ClientSession) -> None:
    while True:
        try:
            await asyncio.sleep(await beat(city, "online"))
        except (aiohttp.ClientError, TimeoutError) as error:
            logging.warning("the city does not hear us, trying again: %s", error)
            await asyncio.sleep(2)


async def main() -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    runner = web.AppRunner(app := web.Application())
    app.router.add_post(f"/agents/{SLUG}/invoke", answer)
    await runner.setup()
    await web.TCPSite(runner, os.getenv("AGENT_HOST", "127.0.0.1"), int(os.getenv("AGENT_PORT", "7026"))).start()
    headers, timeout = {"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"}, aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(os.environ["CITY_URL"], headers=headers, timeout=timeout) as city:
        heart = asyncio.create_task(live(city))
        await stop.wait()
        heart.cancel()
        await asyncio.gather(heart, beat(city, "offline"), runner.cleanup(), return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
