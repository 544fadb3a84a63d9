"""The process of the demo's agents, which uses only the city's public HTTP API.

    python -m daarion_appservice.demo.agents --credentials .demo/credentials.json [--port 7026]

Each agent sends heartbeats, posts a greeting once, and goes offline at the end. With ``--port`` the process is also an
agents core: ``POST /agents/{id}/invoke`` on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import aiohttp
from aiohttp import web

from .client import CityClient, CityRefused, CityUnavailable
from .invoke import invoke_app
from .ports import HOST

RETRY_S: Final = 1.0
"""How soon to retry while the city is unavailable, in seconds: within the 40 s after which an agent goes offline."""

REFUSED_RETRY_S: Final = 30.0
OFFLINE_TIMEOUT_S: Final = 3.0
GREETING_ROOM: Final = "general"

log = logging.getLogger("demo.agents")


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the demo's agents.")
    parser.add_argument("--credentials", type=Path, required=True, help="the demo's credentials.json")
    parser.add_argument("--port", type=int, help="answer POST /agents/{id}/invoke on this port of loopback")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    credentials = json.loads(options.credentials.read_text())
    asyncio.run(run(credentials["city_url"], credentials["agent_tokens"], options.port))


async def run(city_url: str, tokens: Mapping[str, str], port: int | None) -> None:
    """Run the agents until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(city_url, timeout=timeout) as session, AsyncExitStack() as stack:
        cities = {slug: CityClient(session, slug, token) for slug, token in tokens.items()}
        for city in cities.values():
            await stack.enter_async_context(online(city))
        if port is not None:
            await stack.enter_async_context(_serving(invoke_app(cities), port))
        await ended.wait()


@asynccontextmanager
async def online(city: CityClient) -> AsyncIterator[None]:
    """Keep the agent online inside this block, and set it offline at its end."""
    session_id = f"demo-{uuid4()}"
    heartbeats = asyncio.create_task(_send_heartbeats(city, session_id))
    try:
        yield
    finally:
        heartbeats.cancel()
        with suppress(asyncio.CancelledError):
            await heartbeats
        with suppress(CityUnavailable, CityRefused, TimeoutError):
            async with asyncio.timeout(OFFLINE_TIMEOUT_S):
                await city.leave(session_id)


async def _send_heartbeats(city: CityClient, session_id: str) -> None:
    """Send heartbeats indefinitely, also after outages of the city, and the greeting after the first success."""
    is_online = has_greeted = False
    while True:
        try:
            pause_s = await city.send_heartbeat((await city.myself())["title"], session_id)
            if not is_online:
                log.info("%s is online", city.slug)
            is_online = True
            has_greeted = has_greeted or await _greet(city)
        except CityUnavailable as error:
            if is_online:
                log.info("%s: the city is unavailable: %s", city.slug, error)
            is_online, pause_s = False, RETRY_S
        except CityRefused as error:
            log.warning("%s: %s", city.slug, error)
            is_online, pause_s = False, REFUSED_RETRY_S
        await asyncio.sleep(pause_s)


async def _greet(city: CityClient) -> bool:
    """Post the greeting. The city stores one message for each ``client_id``, so it appears only once."""
    me = await city.myself()
    await city.post(GREETING_ROOM, f"Вітаю, місто! Я {me['display_name']}. {me['title']}", f"demo-greeting-{city.slug}")
    return True


@asynccontextmanager
async def _serving(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
