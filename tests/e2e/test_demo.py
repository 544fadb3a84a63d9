"""The demo: the whole city from one command, and nothing left of it after Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import nio
import psutil
import pytest

from daarion_appservice.demo.client import CityClient
from daarion_appservice.demo.invoke import invoke_app
from tests.parts.city import eventually
from tests.parts.demo import Demo
from tests.parts.ports import HOST

AGENTS = ["daarwizz", "hospodar", "litopys", "providnyk", "varta"]
GREETING = "Вітаю, місто!"

QUESTIONS = [
    ("daarwizz", "Які кімнати є в місті?", ["General", "Welcome", "Builders"]),
    ("daarwizz", "Who is online?", ["Agents here", "DAARWIZZ", "Varta"]),
    ("varta", "Який стан вузла?", ["node-1: усі агенти онлайн", "Varta", "Hospodar"]),
    ("hospodar", "Who lives on the node?", ["On node-1 live", "Hospodar"]),
    ("litopys", "Підсумуй General", ["General, останні повідомлення", "DAARWIZZ (1)"]),
    ("providnyk", "Where should I start?", ["is the liveliest now"]),
    ("litopys", "Порадь ідею для міського району", ["без мовної моделі", "про що писали в кімнаті"]),
]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A city that is open; tests only look at it. Ctrl-C ends all its processes."""
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo
        children = demo.children()
        assert demo.end(signal.SIGINT) == 0
        assert len(children) == 3
        assert not psutil.wait_procs(children, timeout=0)[1]
        assert demo.ports_are_free()


async def get(url: str) -> Any:
    async with aiohttp.request("GET", url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def test_credentials_file_is_private_and_complete(city: Demo) -> None:
    file = city.data / "credentials.json"
    credentials = city.credentials

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(credentials) == {
        "homeserver_url",
        "server_name",
        "city_url",
        "matrix_url",
        "matrix_users",
        "jwt_secret",
        "admin_token",
        "internal_token",
        "agent_tokens",
    }
    assert credentials["server_name"] == "city.localhost"
    assert [set(user) for user in credentials["matrix_users"]] == [{"user_id", "password"}] * 2
    assert sorted(credentials["agent_tokens"]) == AGENTS


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl and jq are not installed")
def test_printed_check_commands_succeed(city: Demo) -> None:
    commands = [line for line in city.output.splitlines() if line.startswith("curl ")]

    answers = [subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout for line in commands]

    person, agent, bulk = answers
    assert '"user_id": "@daarion_admin:city.localhost"' in person
    assert '"agent_id": "daarwizz"' in agent
    assert '"presence": "online"' in agent
    assert '"presences": [' in bulk


async def test_the_agents_are_online_in_the_city(city: Demo) -> None:
    agents = await get(f"{city.credentials['city_url']}/api/v1/agents")

    assert sorted(agent["slug"] for agent in agents) == sorted([*AGENTS, "second_me"])
    assert {agent["presence"] for agent in agents} == {"online"}


async def test_agents_of_demo_have_encryption_keys(city: Demo) -> None:
    url, admin = city.credentials["city_url"], city.credentials["admin_token"]

    async def status() -> Any:
        headers = {"Authorization": f"Bearer {admin}"}
        async with aiohttp.request("GET", f"{url}/api/v1/encryption", headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def all_have_keys() -> bool:
        return set(AGENTS) <= {agent["agent_id"] for agent in (await status())["agents"] if agent["uploaded"]}

    assert (await status())["enabled"]
    await eventually(all_have_keys)


async def test_admin_of_demo_has_power_in_space_and_rooms(city: Demo) -> None:
    credentials = city.credentials
    admin = credentials["matrix_users"][0]
    body = {"name": "Later", "slug": "later"}
    headers = {"Authorization": f"Bearer {credentials['admin_token']}"}
    async with aiohttp.request("POST", f"{credentials['city_url']}/city/rooms", json=body, headers=headers) as response:
        assert response.status == 201, await response.text()
    client = nio.AsyncClient(credentials["homeserver_url"], admin["user_id"])

    async def level(alias: str) -> int:
        room = await client.room_resolve_alias(f"#{alias}:city.localhost")
        if not isinstance(room, nio.RoomResolveAliasResponse):
            return 0
        await client.join(room.room_id)
        levels = await client.room_get_state_event(room.room_id, "m.room.power_levels")
        return int(levels.content["users"].get(admin["user_id"], 0))

    try:
        await client.login(admin["password"])
        aliases = ["city", "city_general", "city_welcome", "city_builders", "city_later"]
        async with asyncio.timeout(60):
            while [await level(alias) for alias in aliases] != [100] * len(aliases):
                await asyncio.sleep(0.2)
    finally:
        await client.close()


async def test_homeserver_advertises_client_address(city: Demo) -> None:
    address = city.credentials["homeserver_url"]

    found = await get(f"{address}/.well-known/matrix/client")

    assert found["m.homeserver"]["base_url"].rstrip("/") == address


async def test_mentioned_agent_types_and_replies(city: Demo) -> None:
    credentials = city.credentials
    person = credentials["matrix_users"][1]
    client = nio.AsyncClient(credentials["homeserver_url"], person["user_id"])
    try:
        await client.login(person["password"])
        general = (await client.room_resolve_alias("#city_general:city.localhost")).room_id
        await client.sync(timeout=0)
        mention = {"user_ids": ["@agent_varta:city.localhost"]}
        content = {"msgtype": "m.text", "body": "Varta, який стан вузла?", "m.mentions": mention}
        question = await client.room_send(general, "m.room.message", content)
        answer, typing = await _answer_to(client, question.event_id)
    finally:
        await client.close()

    assert answer["sender"] == "@agent_varta:city.localhost"
    assert "усі агенти онлайн" in answer["content"]["body"]
    # Synapse reports changes only: its end, too, shows that the agent typed, if that was between two requests of a slow client.
    assert typing
    assert {user for users in typing for user in users} <= {"@agent_varta:city.localhost"}


async def _answer_to(client: nio.AsyncClient, event_id: str) -> tuple[dict[str, Any], list[list[str]]]:
    """The reply to an event, and who was seen typing until it came."""
    typing: list[list[str]] = []
    async with asyncio.timeout(60):
        while True:
            answer = await client.sync(timeout=5000)
            assert isinstance(answer, nio.SyncResponse)
            for room in answer.rooms.join.values():
                typing += [each.users for each in room.ephemeral if isinstance(each, nio.TypingNoticeEvent)]
                for event in room.timeline.events:
                    relation = event.source["content"].get("m.relates_to", {})
                    if relation.get("m.in_reply_to", {}).get("event_id") == event_id:
                        return event.source, typing


async def test_second_me_remembers_earlier_prompts(city: Demo) -> None:
    token = jwt.encode({"sub": "u_7", "exp": int(time.time()) + 600}, city.credentials["jwt_secret"], "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{city.credentials['city_url']}/secondme/invoke"
    answers = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for prompt in ("Порадь ідею для міського району", "А що я питав?"):
            async with session.post(url, json={"prompt": prompt, "user_id": "u_7"}) as response:
                assert response.status == 200, await response.text()
                answers.append((await response.json())["response"])
    assert "Порадь ідею" not in answers[0]
    assert "«Порадь ідею для міського району»" in answers[1]


async def test_matrix_user_signs_in_and_sees_online_agent(city: Demo) -> None:
    credentials = city.credentials
    person = credentials["matrix_users"][0]
    client = nio.AsyncClient(credentials["homeserver_url"], person["user_id"])
    try:
        login = await client.login(person["password"])
        rooms = await client.joined_rooms()
        presence = await client.get_presence("@agent_daarwizz:city.localhost")
    finally:
        await client.close()

    assert isinstance(login, nio.LoginResponse)
    assert isinstance(rooms, nio.JoinedRoomsResponse)
    # General, Welcome, Builders and the space that holds them; another test may have opened a room.
    assert len(rooms.rooms) >= 4
    assert isinstance(presence, nio.PresenceGetResponse)
    assert presence.presence == "online"


async def test_demo_admin_is_admin_of_homeserver_and_rooms(city: Demo) -> None:
    credentials = city.credentials
    admin, other = credentials["matrix_users"]
    levels: dict[str, list[int]] = {}
    statuses = []
    for person in (admin, other):
        client = nio.AsyncClient(credentials["homeserver_url"], person["user_id"])
        try:
            await client.login(person["password"])
            headers = {"Authorization": f"Bearer {client.access_token}"}
            url = f"{credentials['homeserver_url']}/_synapse/admin/v1/rooms"
            async with aiohttp.request("GET", url, headers=headers) as response:
                statuses.append(response.status)
            rooms = await client.joined_rooms()
            assert isinstance(rooms, nio.JoinedRoomsResponse)
            for room in rooms.rooms:
                state = await client.room_get_state_event(room, "m.room.power_levels")
                assert isinstance(state, nio.RoomGetStateEventResponse)
                levels.setdefault(person["user_id"], []).append(state.content["users"].get(person["user_id"], 0))
        finally:
            await client.close()
    assert statuses == [200, 403]
    assert {user: set(found) for user, found in levels.items()} == {admin["user_id"]: {100}, other["user_id"]: {0}}
    assert min(map(len, levels.values())) >= 4


async def all_have_greeted(city_url: str) -> bool:
    """Return whether each agent posted its greeting, which it does after its first heartbeat."""
    room = await get(f"{city_url}/city/rooms/general")
    return sorted(each["author"]["id"] for each in room["messages"] if each["body"].startswith(GREETING)) == AGENTS


async def test_each_agent_greets_the_city_once(city: Demo) -> None:
    await eventually(lambda: all_have_greeted(city.credentials["city_url"]))
    room = await get(f"{city.credentials['city_url']}/city/rooms/general")

    greetings = [message for message in room["messages"] if message["body"].startswith(GREETING)]
    assert sorted(message["author"]["id"] for message in greetings) == AGENTS


async def test_agent_replies_use_city_data(city: Demo, aiohttp_client: Any) -> None:
    credentials = city.credentials
    async with aiohttp.ClientSession(credentials["city_url"]) as session:
        tokens = credentials["agent_tokens"]
        core = await aiohttp_client(invoke_app({slug: CityClient(session, slug, tokens[slug]) for slug in tokens}))
        for agent, question, words in QUESTIONS:
            context: dict[str, Any] = {"kind": "direct", "user_id": "u_1", "room": None, "history": []}
            answer = await core.post(f"/agents/{agent}/invoke", json={"input": question, "context": context})
            output = (await answer.json())["output"]
            assert all(word in output for word in words), f"{agent}, {question}: {output}"


@pytest.mark.soak
def test_ctrl_c_during_start_leaves_no_process(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.start()
    while not demo.children():
        time.sleep(0.01)
    exit_code = demo.end(signal.SIGINT)

    assert exit_code == 0
    assert demo.ports_are_free()
    with demo:
        assert sorted(demo.credentials["agent_tokens"]) == AGENTS
        assert demo.end(signal.SIGTERM) == 0


async def test_demo_names_dead_process_and_keeps_data(city: Demo) -> None:
    credentials = city.credentials
    rooms = await get(f"{credentials['city_url']}/city/rooms?sort=name")
    await eventually(lambda: all_have_greeted(credentials["city_url"]))
    children = city.children()
    city.child("run").kill()
    exit_code = city.wait()

    assert exit_code == 1
    assert "Service ended (killed by SIGKILL)" in city.output
    assert len(children) == 3
    assert not psutil.wait_procs(children, timeout=0)[1]
    assert city.ports_are_free()

    city.start()
    city.wait_until_open()
    assert city.credentials == credentials
    again = await get(f"{credentials['city_url']}/city/rooms?sort=name")
    assert {room["matrix_room_id"] for room in again} >= {room["matrix_room_id"] for room in rooms}
    assert await all_have_greeted(credentials["city_url"])


def test_taken_port_is_named_before_any_write(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    with socket.create_server((HOST, demo.matrix_port)):
        demo.start()
        exit_code = demo.wait()

    assert exit_code == 5
    assert f"matrix listener needs port {demo.matrix_port}" in demo.output
    assert "--matrix-port" in demo.output
    if sys.platform == "linux":
        assert f"(process {os.getpid()})" in demo.output
    assert not demo.data.exists()
