"""examples/agent.py: a process that knows the public API alone, with a real city."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp

from tests.parts.city import eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S

EXAMPLE = Path(__file__).parents[2] / "examples/agent.py"


def test_example_agent_is_short_and_standalone() -> None:
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 60
    assert "daarion_appservice" not in source


async def test_example_agent_replies_and_leaves_on_signal(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        port = free_port()
        environment = {
            "CITY_URL": f"http://{HOST}:{city.city.settings.api.port}",
            "AGENT_SLUG": "scribe",
            "AGENT_TOKEN": await city.agent_token("scribe"),
            "AGENT_HOST": HOST,
            "AGENT_PORT": str(port),
        }
        agent = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLE), env=os.environ | environment, stderr=asyncio.subprocess.PIPE
        )
        try:
            await eventually(lambda: _is(city, "online"))
            async with aiohttp.request(
                "POST",
                f"http://{HOST}:{port}/agents/scribe/invoke",
                json={
                    "input": "Добрий вечір",
                    "context": {"kind": "direct", "user_id": "u_1", "room": None, "history": []},
                },
            ) as answer:
                assert answer.status == 200
                assert "Добрий вечір" in (await answer.json())["output"]

            agent.send_signal(signal.SIGTERM)
            _, errors = await asyncio.wait_for(agent.communicate(), WAIT_S)
            assert (agent.returncode, errors) == (0, b"")
            assert await _is(city, "offline"), "it said so itself, long before anybody would notice"
        finally:
            if agent.returncode is None:
                agent.kill()
                await agent.wait()


async def _is(city: InProcessCity, status: str) -> bool:
    return (await city.get("/api/v1/agents/scribe/presence"))["presence"] == status  # type: ignore[no-any-return]
