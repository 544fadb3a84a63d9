"""Somebody in an ordinary Matrix client, and somebody in the city, in one and the same room."""

from __future__ import annotations

import asyncio
from typing import Any

import nio
import pytest

from tests.parts.city import StartCity, citizen_token, eventually
from tests.parts.person import Arrive

DAARWIZZ = "@agent_daarwizz:city.localhost"


# Where the database has little part; a day in the city is walked on both.
SQLITE_FIRST = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True
)


@SQLITE_FIRST
@pytest.mark.parametrize("room_version", [pytest.param("10", marks=pytest.mark.soak), "12"])
async def test_a_person_finds_the_city_joins_and_is_heard(
    start_city: StartCity, arrive: Arrive, room_version: str
) -> None:
    city = await start_city(settings={"city.room_version": room_version})
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
    event_id = await alice.say(general, "Привіт, місто!")

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


@SQLITE_FIRST
async def test_what_a_citizen_and_an_agent_write_arrives_from_their_ghosts(
    start_city: StartCity, arrive: Arrive
) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")

    posted = await city.post(
        "/city/rooms/general/messages", {"body": "Доброго дня"}, token=citizen_token("u_123", "Оксана")
    )
    assert posted["delivery"] == "pending"
    answer = {"body": "Вітаю", "reply_to": posted["id"]}
    await city.post("/city/rooms/general/messages", answer, token=await city.agent_token("daarwizz"))

    await alice.sees(lambda: len(alice.messages) == 2)
    assert alice.messages == [("@citizen_u_123:city.localhost", "Доброго дня"), (DAARWIZZ, "Вітаю")]
    room = alice.client.rooms[general]
    assert room.user_name("@citizen_u_123:city.localhost") == "Оксана"
    assert room.user_name(DAARWIZZ) == "DAARWIZZ"

    async def both_are_sent() -> bool:
        messages = await city.get("/city/rooms/general/messages")
        return [message["delivery"] for message in messages] == ["sent", "sent"]

    await eventually(both_are_sent)
    # Their echoes came back as events long since; nothing stands there twice.
    assert await city.bodies() == ["Доброго дня", "Вітаю"]


@SQLITE_FIRST
async def test_an_agent_is_online_while_its_heartbeats_come_and_offline_40_s_after_the_last(
    start_city: StartCity, arrive: Arrive
) -> None:
    city = await start_city()
    token = await city.agent_token("daarwizz")
    alice = await arrive(city, "alice")
    await alice.join("#city_general:city.localhost")
    clock = asyncio.get_running_loop()

    beat = {"status_msg": "слухаю"}
    first = await city.post("/api/v1/agents/daarwizz/heartbeat", beat, token=token)
    assert first["next_heartbeat_ms"] == 20_000
    assert first["expires_in_ms"] == 40_000
    came_at = clock.time()
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "online", timeout_s=5)
    assert alice.presences[-1][2] == "слухаю"
    assert (await city.get("/api/v1/agents/daarwizz/presence"))["presence"] == "online"

    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", timeout_s=60)
    after_s = clock.time() - came_at
    assert 39 <= after_s < 50, "neither before its time nor when Synapse itself would have noticed"
    presence = await city.get("/api/v1/agents/daarwizz/presence")
    assert presence["presence"] == "offline"
    assert presence["last_active_ago_ms"] >= 39_000


@SQLITE_FIRST
async def test_an_agent_that_says_goodbye_is_offline_at_once(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    token = await city.agent_token("daarwizz")
    alice = await arrive(city, "alice")
    await alice.join("#city_general:city.localhost")

    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "away"}, token=token)
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "unavailable", timeout_s=5)
    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "offline"}, token=token)
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", timeout_s=5)


@SQLITE_FIRST
async def test_a_clean_stop_takes_every_ghost_offline(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    token = await city.agent_token("daarwizz")
    alice = await arrive(city, "alice")
    await alice.join("#city_general:city.localhost")
    await city.post("/api/v1/agents/daarwizz/heartbeat", {}, token=token)
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "online", timeout_s=5)

    await city.service.stop()

    assert city.service.exit_code == 0
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", timeout_s=5)


@SQLITE_FIRST
async def test_a_new_display_name_is_followed(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    await alice.say(general, "hi")
    await alice.client.set_displayname("Аліса")
    await alice.sees(lambda: alice.client.rooms[general].user_name(alice.client.user_id) == "Аліса")
    await alice.say(general, "it is me")

    async def names() -> bool:
        messages = await city.get("/city/rooms/general/messages")
        return [message["author"]["display_name"] for message in messages] == ["Alice", "Аліса"]

    await eventually(names)
