"""Messages, edits, reactions and typing between a Matrix client and the city's API in one room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nio
import pytest
import pytest_asyncio

from tests.parts.city import RunningCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import Arrive, arriving
from tests.parts.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAARWIZZ = "@agent_daarwizz:city.localhost"
AT_ONCE_S = 20.0
"""Less than the 30 s and 40 s (s) after which Synapse and the city take a silent agent offline by themselves."""


# The database has little part in what is looked at here; a day in the city is walked on both.
@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        ("sqlite", "12"),
        pytest.param(("postgresql", "12"), marks=pytest.mark.soak),
        pytest.param(("sqlite", "10"), marks=pytest.mark.soak),
    ],
    ids="-".join,
)
async def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    """One city for all tests, with rooms of a version; each test brings people of its own."""
    database, room_version = request.param
    url = ""
    if database == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create_database())
    settings: dict[str, str | float] = {"city.room_version": room_version}
    async with shared_city(tmp_path_factory.mktemp("city"), url, settings=settings) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def arrive() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


async def test_matrix_user_joins_city_room_and_is_read(city: RunningCity, arrive: Arrive) -> None:
    alice = await arrive(city, "alice")

    token = alice.client.access_token

    async def listed() -> dict[str, Any]:
        """Synapse lists a room a moment after it was made."""
        _, directory = await city.call("GET", "/_matrix/client/v3/publicRooms", token=token, url=city.homeserver.url)
        found = {room.get("canonical_alias"): room for room in directory["chunk"]}
        wanted = {"#city:city.localhost", "#city_general:city.localhost", "#city_builders:city.localhost"}
        return found if wanted <= found.keys() else {}

    found = await eventually(listed)
    assert found["#city_general:city.localhost"]["name"] == "General"
    assert found["#city_general:city.localhost"]["topic"] == "Головна кімната міста"

    space = await alice.join("#city:city.localhost")
    hierarchy = await alice.client.space_get_hierarchy(space)
    assert isinstance(hierarchy, nio.SpaceGetHierarchyResponse)
    assert {room.get("name") for room in hierarchy.rooms} == {"DAARION", "General", "Welcome", "Builders"}

    general = await alice.join("#city_general:city.localhost")
    event_id = await alice.send_text(general, "Привіт, місто!")

    async def is_in_the_city() -> bool:
        return "Привіт, місто!" in await city.bodies()

    await eventually(is_in_the_city)
    room = await city.get("/city/rooms/general")
    assert room["matrix_room_id"] == general
    message = room["messages"][-1]
    assert message["author"] == {
        "kind": "matrix",
        "id": "@alice:city.localhost",
        "display_name": "Alice",
        "matrix_user_id": "@alice:city.localhost",
        "avatar_url": None,
    }
    assert (message["matrix_event_id"], message["delivery"]) == (event_id, "sent")


async def test_city_messages_are_sent_by_ghosts(city: RunningCity, arrive: Arrive) -> None:
    olena = await arrive(city, "olena")
    general = await olena.join("#city_general:city.localhost")

    posted = await city.post(
        "/city/rooms/general/messages", {"body": "Доброго дня"}, token=citizen_token("u_123", "Оксана")
    )
    assert posted["delivery"] == "pending"
    answer = {"body": "Вітаю", "reply_to": posted["id"]}
    await city.post("/city/rooms/general/messages", answer, token=await city.agent_token("daarwizz"))

    written = [("@citizen_u_123:city.localhost", "Доброго дня"), (DAARWIZZ, "Вітаю")]
    await olena.wait_for(lambda: olena.messages[-2:] == written)
    room = olena.client.rooms[general]
    assert room.user_name("@citizen_u_123:city.localhost") == "Оксана"
    assert room.user_name(DAARWIZZ) == "DAARWIZZ"

    async def both_are_sent() -> bool:
        messages = await city.get("/city/rooms/general/messages")
        return [message["delivery"] for message in messages[-2:]] == ["sent", "sent"]

    await eventually(both_are_sent)
    # Their echoes came back as events long since; nothing stands there twice.
    assert [body for body in await city.bodies() if body in {"Доброго дня", "Вітаю"}] == ["Доброго дня", "Вітаю"]


async def test_agent_presence_ends_40_s_after_last_heartbeat(city: RunningCity, arrive: Arrive) -> None:
    token = await city.agent_token("daarwizz")
    bohdan = await arrive(city, "bohdan")
    await bohdan.join("#city_general:city.localhost")
    clock = asyncio.get_running_loop()

    beat = {"status_msg": "слухаю"}
    first = await city.post("/api/v1/agents/daarwizz/heartbeat", beat, token=token)
    assert first["next_heartbeat_ms"] == 20_000
    assert first["expires_in_ms"] == 40_000
    came_at = clock.time()
    await bohdan.wait_for(lambda: bohdan.presence_of(DAARWIZZ) == "online")
    assert bohdan.presences[-1][2] == "слухаю"
    assert (await city.get("/api/v1/agents/daarwizz/presence"))["presence"] == "online"

    await bohdan.wait_for(lambda: bohdan.presence_of(DAARWIZZ) == "offline")
    after_s = clock.time() - came_at
    assert 39 <= after_s < 55, "neither before its time nor when Synapse itself would have noticed"
    presence = await city.get("/api/v1/agents/daarwizz/presence")
    assert presence["presence"] == "offline"
    assert presence["last_active_ago_ms"] >= 39_000


async def test_agent_leave_sets_offline_at_once(city: RunningCity, arrive: Arrive) -> None:
    token = await city.agent_token("daarwizz")
    vira = await arrive(city, "vira")
    await vira.join("#city_general:city.localhost")

    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "away"}, token=token)
    await vira.wait_for(lambda: vira.presence_of(DAARWIZZ) == "unavailable")
    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "offline"}, token=token)
    await vira.wait_for(lambda: vira.presence_of(DAARWIZZ) == "offline", AT_ONCE_S)


async def test_a_clean_stop_takes_every_ghost_offline(city: RunningCity, arrive: Arrive) -> None:
    token = await city.agent_token("daarwizz")
    halyna = await arrive(city, "halyna")
    await halyna.join("#city_general:city.localhost")
    await city.post("/api/v1/agents/daarwizz/heartbeat", {}, token=token)
    await halyna.wait_for(lambda: halyna.presence_of(DAARWIZZ) == "online")

    await city.service.stop()
    try:
        assert city.service.exit_code == 0
        await halyna.wait_for(lambda: halyna.presence_of(DAARWIZZ) == "offline", AT_ONCE_S)
    finally:
        await city.start()


async def test_a_new_display_name_is_followed(city: RunningCity, arrive: Arrive) -> None:
    dana = await arrive(city, "dana")
    general = await dana.join("#city_general:city.localhost")
    await dana.send_text(general, "hi")
    await dana.client.set_displayname("Дана")
    await dana.wait_for(lambda: dana.client.rooms[general].user_name(dana.client.user_id) == "Дана")
    await dana.send_text(general, "it is me")

    async def names() -> bool:
        messages = await city.get("/city/rooms/general/messages")
        hers = [each for each in messages if each["author"]["matrix_user_id"] == dana.client.user_id]
        return [message["author"]["display_name"] for message in hers] == ["Dana", "Дана"]

    await eventually(names)
