"""Presence for browsers: the WebSocket, server-sent events and counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import nio
import pytest
import pytest_asyncio

from tests.parts.city import LONG_PRESENCE, RunningCity, citizen_token, eventually, shared_city
from tests.parts.frames import next_frame
from tests.parts.matrix_user import Arrive, arriving, quiet_user, syncing

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE_TOKEN = "a token that trusted services of this city hold"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    settings = LONG_PRESENCE | {"api.service_token": SERVICE_TOKEN}
    async with shared_city(tmp_path_factory.mktemp("presence"), settings=settings) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def city(running: RunningCity) -> RunningCity:
    """The city of all tests, without online subjects."""
    offline = [{"agent_id": agent, "status": "offline"} for agent in ("daarwizz", "scribe")]
    await running.post("/api/v1/agents/heartbeats", {"heartbeats": offline}, token=SERVICE_TOKEN)

    async def is_empty() -> bool:
        return bool((await running.get("/api/v1/presence/summary"))["online"]["total"] == 0)

    await eventually(is_empty)
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def arrive() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


@asynccontextmanager
async def presence_socket(city: RunningCity, query: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with city.session.ws_connect(f"{city.api_url}/ws/city/presence{query}") as socket:
        yield socket


async def next_event(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    event: dict[str, Any] = await next_frame(socket)
    return event


async def test_browsers_hear_of_citizens_agents_and_people(city: RunningCity) -> None:
    daarwizz = await city.agent_token("daarwizz")
    async with (
        presence_socket(city) as watching,
        presence_socket(city) as oksana,
        quiet_user(city.homeserver, "alice") as alice,
    ):
        assert await next_event(watching) == {
            "event": "presence.snapshot", "users": [], "seq": (first := (await next_event(oksana))["seq"])
        }  # fmt: skip

        await oksana.send_json({"event": "presence.heartbeat", "user_id": "u_1"})
        assert (await next_event(oksana))["code"] == "sign_in"
        await oksana.send_json({"event": "auth", "token": citizen_token("u_1", "Оксана")})
        await oksana.send_json({"event": "presence.heartbeat", "user_id": "u_2"})
        assert (await next_event(oksana))["code"] == "user_id_mismatch"
        await oksana.send_json({"event": "presence.heartbeat", "user_id": "u_1", "status_msg": "читаю"})
        update = await next_event(watching)
        assert (update["event"], update["user_id"], update["status"]) == ("presence.update", "u_1", "online")
        assert (update["status_msg"], update["seq"]) == ("читаю", first + 1)

        await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "away"}, token=daarwizz)
        update = await next_event(watching)
        assert (update["user_id"], update["status"], update["seq"]) == ("agent:daarwizz", "away", first + 2)

        await alice.join("#city_general:city.localhost")
        async with syncing(alice):
            update = await next_event(watching)
        assert (update["user_id"], update["status"]) == ("@alice:city.localhost", "online")

        async def all_are_counted() -> bool:
            summary = await city.get("/api/v1/presence/summary")
            general = await city.get("/city/rooms/general")
            return bool(
                summary["online"] == {"citizens": 1, "agents": 1, "people": 1, "total": 3}
                and summary["away"]["agents"] == 1
                and general["members_online"] == summary["rooms"]["city_general"] == 2
            )

        await eventually(all_are_counted)
        bulk = await city.get("/api/v1/presence?ids=u_1,agent:daarwizz,@alice:city.localhost,u_9")
        assert [each["status"] for each in bulk["presences"]] == ["online", "away", "online", "offline"]

        await oksana.send_json({"event": "presence.offline"})
        update = await next_event(watching)
        assert (update["user_id"], update["status"], update["status_msg"]) == ("u_1", "offline", None)
        await alice.set_presence("offline")
        update = await next_event(watching)
        assert (update["user_id"], update["status"]) == ("@alice:city.localhost", "offline")


async def test_reconnect_replays_missed_or_resyncs(city: RunningCity) -> None:
    token = await city.agent_token("daarwizz")

    async def beat(status: str) -> None:
        await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": status}, token=token)

    async with presence_socket(city) as socket:
        seen = (await next_event(socket))["seq"]
    await beat("online")
    await beat("offline")
    await beat("away")
    async with presence_socket(city, f"?since={seen}") as socket:
        missed = [await next_event(socket)]
        while missed[-1]["status"] != "away":
            missed.append(await next_event(socket))
        assert {(each["event"], each["user_id"]) for each in missed} == {("presence.update", "agent:daarwizz")}
        assert seen < missed[0]["seq"]
        latest = missed[-1]["seq"]
    async with presence_socket(city, f"?since={latest}&batch=1") as socket:
        await beat("online")
        frame = await next_event(socket)
        assert frame["event"] == "presence.updates"
        assert [(each["user_id"], each["status"]) for each in frame["updates"]] == [("agent:daarwizz", "online")]
        assert frame["seq"] == frame["updates"][-1]["seq"] == latest + 1

    await city.service.stop()
    city.service.start()
    await city.ready()
    async with presence_socket(city, f"?since={latest}") as socket:
        assert (await next_event(socket))["event"] == "presence.resync"
        assert (await next_event(socket))["event"] == "presence.snapshot"


async def of_daarwizz(stream: AsyncIterator[tuple[str, str, Any]]) -> tuple[str, str, Any]:
    """The next event of its; people who were there for other tests may still be leaving."""
    while (event := await anext(stream))[2].get("user_id") != "agent:daarwizz":
        continue
    return event


async def test_server_sent_events_resume_by_their_last_id(city: RunningCity) -> None:
    token = await city.agent_token("daarwizz")

    async def beat(status: str) -> None:
        await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": status}, token=token)

    async with events(city) as stream:
        name, seen, content = await anext(stream)
        assert (name, content["users"]) == ("snapshot", [])
        await beat("online")
        name, last, content = await of_daarwizz(stream)
        assert (name, content["status"]) == ("presence", "online")
        assert int(last) > int(seen)
    await beat("away")
    async with events(city, last_id=last) as stream:
        assert (await of_daarwizz(stream))[2]["status"] == "away"
    async with events(city, last_id="17") as stream:
        assert (await anext(stream))[0] == "resync"
        assert (await anext(stream))[0] == "snapshot"


async def test_cross_origin_page_cannot_connect(city: RunningCity) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await city.session.ws_connect(f"{city.api_url}/ws/city/presence", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403


async def test_services_beat_for_many_agents_at_once(city: RunningCity) -> None:
    beats = [{"agent_id": "daarwizz"}, {"agent_id": "nobody"}, {"agent_id": "scribe", "status": "asleep"}]
    status, _ = await city.call("POST", "/api/v1/agents/heartbeats", {"heartbeats": beats})
    assert status == 401
    answer = await city.post("/api/v1/agents/heartbeats", {"heartbeats": beats}, token=SERVICE_TOKEN)
    first, second, third = answer["results"]
    assert (first["presence"], first["next_heartbeat_ms"]) == ("online", 20_000)
    assert (second["code"], third["code"]) == ("no_such_agent", "invalid")


async def test_matrix_users_see_agent_presence_of_city(city: RunningCity, arrive: Arrive) -> None:
    daarwizz, scribe = await city.agent_token("daarwizz"), await city.agent_token("scribe")
    bohdan = await arrive(city, "bohdan")
    room = await bohdan.join("#city_general:city.localhost")

    async def on_matrix(agent: str) -> tuple[str, Any]:
        user = f"@agent_{agent}:city.localhost"
        presence = await bohdan.client.get_presence(user)
        assert isinstance(presence, nio.PresenceGetResponse), presence
        _, profile = await city.call("GET", f"/_matrix/client/v3/profile/{user}", url=city.homeserver.url)
        return presence.presence, profile.get("org.matrix.msc4426.status")

    async def until_on_matrix(agent: str, presence: str, text: str | None = None) -> None:
        async def is_so() -> bool:
            return await on_matrix(agent) == (presence, {"text": text} if text else None)

        await eventually(is_so)

    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "away", "status_msg": "обід"}, token=daarwizz)
    await until_on_matrix("daarwizz", "unavailable", "обід")
    for token, body in ((daarwizz, "я обідаю"), (scribe, "мене немає")):
        await city.post("/city/rooms/general/messages", {"body": body}, token=token)
    await bohdan.wait_for(lambda: {body for _, body in bohdan.messages} >= {"я обідаю", "мене немає"})
    await bohdan.send_text(room, "смачного")
    await until_on_matrix("daarwizz", "unavailable", "обід")
    # Synapse takes a sender for online, which the city corrects.
    await bohdan.wait_for(lambda: bohdan.presence_of("@agent_scribe:city.localhost") in {None, "offline"})

    await city.service.stop()
    try:
        assert (await on_matrix("daarwizz"))[0] == "offline"
    finally:
        await city.start()


Event = tuple[str, str, Any]


@asynccontextmanager
async def events(city: RunningCity, last_id: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """(event, id, data) of the stream, as an EventSource reads them."""
    headers = {"Last-Event-ID": last_id} if last_id else {}

    async def read(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
        fields: dict[str, str] = {}
        async for raw in answer.content:
            line = raw.decode().rstrip("\r\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])
                fields = {}

    async with city.session.get(f"{city.api_url}/api/v1/presence/stream", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        stream = read(answer)
        try:
            yield stream
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
