"""The demo's agents across restarts of the city, and their offline event at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daarion_appservice.demo import agents as demo_agents
from daarion_appservice.demo.agents import online
from daarion_appservice.demo.client import CityClient
from daarion_appservice.demo.invoke import invoke_app
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S


@dataclass
class SmallCity:
    """As much of the city's API as the runtime needs, on a port that may be closed and opened again."""

    port: int = field(default_factory=free_port)
    role: str = "guardian"
    beats: list[str] = field(default_factory=list)
    greetings: Counter[str] = field(default_factory=Counter)
    _runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/agents/{slug}", self._show)
        app.router.add_post("/api/v1/agents/{slug}/heartbeat", self._beat)
        app.router.add_post("/city/rooms/general/messages", self._post)
        app.router.add_get("/api/v1/agents", self._agents)
        app.router.add_get("/city/rooms", self._rooms)
        app.router.add_get("/city/people/{subject}", self._person)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"display_name": "Varta", "title": "Guardian", "role": self.role})

    async def _agents(self, request: web.Request) -> web.Response:
        return web.json_response([{"display_name": "Varta", "presence": "online"}])

    async def _rooms(self, request: web.Request) -> web.Response:
        return web.json_response([])

    async def _person(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject != "@марія:city.localhost":
            return web.json_response({"error": {"code": "no_such_person"}}, status=404)
        return web.json_response({"id": subject, "kind": "matrix", "display_name": "Марія"})

    async def _beat(self, request: web.Request) -> web.Response:
        self.beats.append((await request.json())["status"])
        return web.json_response({"next_heartbeat_ms": 20})

    async def _post(self, request: web.Request) -> web.Response:
        self.greetings[(await request.json())["client_id"]] += 1
        return web.json_response({}, status=201)


@pytest.fixture
async def city(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallCity]:
    monkeypatch.setattr(demo_agents, "RETRY_S", 0.02)
    city = SmallCity()
    await city.open()
    yield city
    await city.close()


@pytest.fixture
async def varta(city: SmallCity) -> AsyncIterator[CityClient]:
    async with aiohttp.ClientSession(f"http://{HOST}:{city.port}") as session:
        yield CityClient(session, "varta", "agt_1_x")


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_agent_sends_heartbeats_and_one_greeting(city: SmallCity, varta: CityClient) -> None:
    async with online(varta):
        await until(lambda: len(city.beats) > 3)

    assert city.greetings == {"demo-greeting-varta": 1}


async def test_agent_sends_leave_on_stop(city: SmallCity, varta: CityClient) -> None:
    async with online(varta):
        await until(lambda: city.beats)

    assert city.beats[-1] == "offline"


async def test_heartbeats_resume_after_city_outage(city: SmallCity, varta: CityClient) -> None:
    async with online(varta):
        await until(lambda: city.beats)
        await city.close()
        city.beats.clear()
        await city.open()
        await until(lambda: city.beats)


async def test_agent_stops_during_city_outage(city: SmallCity, varta: CityClient) -> None:
    async with online(varta):
        await until(lambda: city.beats)
        await city.close()

    assert "offline" not in city.beats


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"input": 1}',
        b'{"input": "x", "context": {"room": 1}}',
        b'{"input": "x", "context": {"user_id": 1}}',
    ],
)
async def test_an_invocation_that_makes_no_sense_is_refused(
    varta: CityClient, aiohttp_client: Any, body: bytes
) -> None:
    core = await aiohttp_client(invoke_app({"varta": varta}))

    answer = await core.post("/agents/varta/invoke", data=body)

    assert answer.status == 400


async def test_invocation_without_user_or_city_is_refused(
    city: SmallCity, varta: CityClient, aiohttp_client: Any
) -> None:
    core = await aiohttp_client(invoke_app({"varta": varta}))
    await city.close()

    nobody = await core.post("/agents/nobody/invoke", json={"input": "hi"})
    away = await core.post("/agents/varta/invoke", json={"input": "hi"})

    assert (nobody.status, away.status) == (404, 502)


@pytest.mark.parametrize(("asks", "people"), [("@марія:city.localhost", "Марія"), ("u_unknown", "—")])
async def test_person_who_asks_is_among_the_people(
    city: SmallCity, varta: CityClient, aiohttp_client: Any, asks: str, people: str
) -> None:
    city.role = "orchestrator"
    core = await aiohttp_client(invoke_app({"varta": varta}))

    reply = await core.post("/agents/varta/invoke", json={"input": "who is here?", "context": {"user_id": asks}})

    assert (await reply.json())["output"] == f"Agents here: Varta. People: {people}."
