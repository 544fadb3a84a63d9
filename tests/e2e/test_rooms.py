"""City rooms and their Matrix rooms: creation by either side, adoption, aliases and the space."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import nio
import pytest
import pytest_asyncio

from tests.parts.city import RunningCity, StartCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import Arrive, MatrixUser, arriving

shared = pytest.mark.asyncio(loop_scope="module")
"""Where nothing is wrong with the homeserver, one city will do for all tests."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is looked at here happens on the homeserver; one database will do."""
    return sqlite_url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    async with shared_city(tmp_path_factory.mktemp("rooms")) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def arrive_here() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


@pytest.mark.soak
async def test_room_that_had_the_alias_is_taken_over(start_city: StartCity, arrive: Arrive) -> None:
    made: dict[str, str] = {}

    async def alice_made_it_long_ago(city: RunningCity) -> None:
        with_us = city.homeserver.setup
        city.homeserver.setup = replace(with_us, registrations=())
        await city.homeserver.restart()
        alice = await MatrixUser.arrive(city.homeserver, "alice")
        made["general"] = await _create(alice, alias="city_general", name="Базар", invite_bot=False)
        await alice.leave()
        city.homeserver.setup = with_us
        await city.homeserver.restart()

    city = await start_city(first=alice_made_it_long_ago)

    room = await city.get("/city/rooms/general")
    assert room["matrix_room_id"] == made["general"]
    assert room["matrix_status"] == "linked"
    # The bot is not an admin there, so it cannot name the room; that is said, and people can talk all the same.
    assert "@city:city.localhost" in room["matrix_error"]
    assert "power level" in room["matrix_error"]
    bob = await arrive(city, "bob")
    await bob.join("#city_general:city.localhost")
    await city.post("/city/rooms/general/messages", {"body": "hello"}, token=citizen_token("u_1", "Ірина"))
    await bob.wait_for(lambda: ("@citizen_u_1:city.localhost", "hello") in bob.messages)


@shared
async def test_adopted_matrix_room_has_its_history(city: RunningCity, arrive_here: Arrive) -> None:
    alice = await arrive_here(city, "alice")
    agora = await _create(alice, alias="agora", name="Агора", topic="Площа", invite_bot=True)
    bodies = [f"word {number}" for number in range(120)]
    for body in bodies:
        await alice.send_text(agora, body)
    poll = {
        "question": {"org.matrix.msc1767.text": "When?"},
        "answers": [{"id": "1", "org.matrix.msc1767.text": "Now"}],
    }
    for event_type, content, shown in [
        ("m.sticker", {"body": "a cat", "file": {}, "info": {}}, "a cat"),
        ("org.matrix.msc3381.poll.start", {"org.matrix.msc3381.poll.start": poll}, "When?\n1. Now"),
    ]:
        assert isinstance(await alice.client.room_send(agora, event_type, content), nio.RoomSendResponse)
        bodies.append(shown)

    await _changes_words(alice, agora)

    adopted = await city.command("room", "adopt", "#agora:city.localhost")
    assert adopted.code == 0, adopted.err
    assert "members" in adopted.out
    await alice.send_text(agora, "after")
    # Its history is shared with whoever is a member, as a room's of a Matrix client is.
    oksana = citizen_token("u_1", "Оксана")
    await city.post("/city/rooms/agora/join", token=oksana)

    async def after_is_here() -> bool:
        return "after" in await city.bodies("agora", token=oksana)

    await eventually(after_is_here)
    filled = await city.command("room", "backfill", "agora")
    assert "Imported 122 messages." in filled.out
    assert "Imported 2 reactions, edits and deletions." in filled.out  # the last edit comes with its message
    bodies[1] = "edited twice"
    assert await city.bodies("agora", token=oksana) == [*bodies, "after"]
    assert await city.bodies("agora") == []
    messages = await city.get("/city/rooms/agora/messages?limit=200", token=oksana)
    given = [(message["body"], each["emoji"], each["by"]) for message in messages for each in message["reactions"]]
    assert given == [("word 0", "👍", ["@alice:city.localhost"])]
    repeated = await city.command("room", "backfill", "agora")
    assert "Imported 0 messages." in repeated.out
    assert "reactions" not in repeated.out

    room = await city.get("/city/rooms/agora")
    assert (room["name"], room["description"]) == ("Агора", "Площа")
    assert (room["matrix_room_id"], room["matrix_error"]) == (agora, None)
    answer = await alice.client.room_resolve_alias("#city_agora:city.localhost")
    assert isinstance(answer, nio.RoomResolveAliasResponse)
    assert answer.room_id == agora
    again = await city.command("room", "adopt", "#agora:city.localhost", "--slug", "again")
    assert again.code == 1
    assert "is the room agora already" in again.err


@shared
async def test_room_of_cli_can_be_joined_and_archived(city: RunningCity, arrive_here: Arrive) -> None:
    bohdan = await arrive_here(city, "bohdan")

    assert "nauka" in (await city.command("room", "add", "Наука", "--description", "Наукова спільнота")).out

    # Not there yet perhaps: then Synapse asks the city for it, and the city makes it. Before it is whole it lets nobody in.
    async def comes_in() -> str:
        answer = await bohdan.client.join("#city_nauka:city.localhost")
        return str(answer.room_id) if isinstance(answer, nio.JoinResponse) else ""

    nauka = await eventually(comes_in)

    async def is_the_rooms() -> bool:
        return bool((await city.get("/city/rooms/nauka"))["matrix_room_id"] == nauka)

    await eventually(is_the_rooms)

    assert (await city.command("room", "archive", "nauka")).code == 0

    async def is_out_of_the_directory() -> bool:
        path = f"/_matrix/client/v3/directory/list/room/{nauka}"
        _, answer = await city.call("GET", path, url=city.homeserver.url, token=bohdan.client.access_token)
        return bool(answer["visibility"] == "private")

    await eventually(is_out_of_the_directory)
    status, problem = await city.call(
        "POST", "/city/rooms/nauka/messages", {"body": "too late"}, token=citizen_token("u_1")
    )
    assert (status, problem["code"]) == (409, "room_archived")
    assert (await city.get("/city/rooms/nauka"))["archived"] is True


@shared
async def test_removed_room_is_left_and_closed_on_matrix(city: RunningCity, arrive_here: Arrive) -> None:
    """Its alias is free for a new room of the same name, and the people in it can read what was written."""
    dara = await arrive_here(city, "dara")
    await city.post("/city/rooms", {"name": "Tram"}, token=citizen_token("u_1", "Ірина"))

    async def comes_in() -> str:
        answer = await dara.client.join("#city_tram:city.localhost")
        return str(answer.room_id) if isinstance(answer, nio.JoinResponse) else ""

    tram = await eventually(comes_in)
    await city.post("/city/rooms/tram/messages", {"body": "last tram"}, token=citizen_token("u_1", "Ірина"))
    await dara.wait_for(lambda: ("@citizen_u_1:city.localhost", "last tram") in dara.messages)

    removed = await city.command("room", "remove", "tram", "--yes")
    assert (removed.code, removed.err) == (0, "")

    async def members() -> set[str]:
        answer = await dara.client.joined_members(tram)
        assert isinstance(answer, nio.JoinedMembersResponse)
        return {member.user_id for member in answer.members}

    async def is_alone() -> bool:
        return await members() == {"@dara:city.localhost"}

    await eventually(is_alone)
    assert isinstance(await dara.client.room_resolve_alias("#city_tram:city.localhost"), nio.RoomResolveAliasError)
    refused = await dara.client.room_send(tram, "m.room.message", {"msgtype": "m.text", "body": "is somebody here?"})
    assert isinstance(refused, nio.RoomSendError)
    status, listed = await city.call(
        "GET",
        f"/_matrix/client/v3/directory/list/room/{tram}",
        url=city.homeserver.url,
        token=dara.client.access_token,
    )
    assert (status, listed["visibility"]) == (200, "private")
    assert (await city.call("GET", "/city/rooms/tram"))[0] == 404

    await city.post("/city/rooms", {"name": "Tram"}, token=citizen_token("u_1", "Ірина"))
    again = await eventually(comes_in)
    assert again != tram
    assert (await city.get("/city/rooms/tram"))["messages"] == []


@shared
async def test_names_of_strangers_are_not_the_citys(city: RunningCity, arrive_here: Arrive) -> None:
    vira = await arrive_here(city, "vira")
    assert isinstance(await vira.client.join("#city_nowhere:city.localhost"), nio.JoinError)
    assert (await city.call("GET", "/city/rooms/nowhere"))[0] == 404


@shared
async def test_agent_of_cli_gets_ghost(city: RunningCity, arrive_here: Arrive) -> None:
    halyna = await arrive_here(city, "halyna")
    general = await halyna.join("#city_general:city.localhost")

    assert (await city.command("agent", "add", "gardener", "--name", "Садівник")).code == 0

    gardener = "@agent_gardener:city.localhost"
    await halyna.wait_for(lambda: gardener in halyna.client.rooms[general].users)
    assert halyna.client.rooms[general].user_name(gardener) == "Садівник"


async def test_refused_directory_publication_logs_advice(start_city: StartCity) -> None:
    city = await start_city(homeserver={"overrides": {"room_list_publication_rules": [{"action": "deny"}]}})

    async def is_advised() -> bool:
        log = "\n".join(city.service.last_lines(200))
        return "room_list_publication_rules:" in log and "@city:city.localhost" in log and "allow" in log

    await eventually(is_advised)
    assert {room["matrix_status"] for room in await city.get("/city/rooms")} == {"linked"}


async def test_reset_homeserver_gets_rooms_and_ghosts_again(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    before = await city.get("/city/rooms/general")
    await city.service.stop()
    city.homeserver.kill()
    shutil.rmtree(city.homeserver.setup.directory)
    await city.homeserver.restart()
    city.service.start()
    await city.ready()

    room = await city.get("/city/rooms/general")
    assert room["matrix_room_id"] != before["matrix_room_id"]
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    assert general == room["matrix_room_id"]
    await alice.wait_for(lambda: "@agent_scribe:city.localhost" in alice.client.rooms[general].users)
    await city.post("/city/rooms/general/messages", {"body": "hello"}, token=await city.agent_token("daarwizz"))
    await alice.wait_for(lambda: ("@agent_daarwizz:city.localhost", "hello") in alice.messages)
    await alice.send_text(general, "hello yourself")

    async def is_received() -> bool:
        return "hello yourself" in await city.bodies()

    await eventually(is_received)


async def _changes_words(alice: MatrixUser, room: str) -> None:
    """Give two reactions to the first words of the room and take one back, edit one twice, and delete one."""
    answer = await alice.client.room_messages(room, limit=500, direction=nio.MessageDirection.back)
    assert isinstance(answer, nio.RoomMessagesResponse)
    events = {event.body: event.event_id for event in answer.chunk if isinstance(event, nio.RoomMessageText)}
    reactions = [
        await _send(alice, room, "m.reaction", {"m.relates_to": _relation("m.annotation", events["word 0"], key=key)})
        for key in ("👍", "🎉")
    ]
    for body in ("edited", "edited twice"):
        content = {"msgtype": "m.text", "body": f"* {body}", "m.new_content": {"msgtype": "m.text", "body": body}}
        await _send(alice, room, "m.room.message", content | {"m.relates_to": _relation("m.replace", events["word 1"])})
    deleted = await _send(alice, room, "m.room.message", {"msgtype": "m.text", "body": "deleted"})
    for event in (reactions[1], deleted):
        assert isinstance(await alice.client.room_redact(room, event), nio.RoomRedactResponse)


def _relation(rel_type: str, event_id: str, **more: str) -> dict[str, str]:
    return {"rel_type": rel_type, "event_id": event_id} | more


async def _send(alice: MatrixUser, room: str, event_type: str, content: Mapping[str, object]) -> str:
    answer = await alice.client.room_send(room, event_type, dict(content))
    assert isinstance(answer, nio.RoomSendResponse), answer
    return str(answer.event_id)


async def _create(alice: MatrixUser, *, alias: str, name: str, topic: str = "", invite_bot: bool) -> str:
    bot = "@city:city.localhost"
    answer = await alice.client.room_create(
        visibility=nio.RoomVisibility.public,
        preset=nio.RoomPreset.public_chat,
        alias=alias,
        name=name,
        topic=topic,
        power_level_override={"users": {bot: 100, alice.client.user_id: 100}} if invite_bot else None,
        room_version="10",
    )
    assert isinstance(answer, nio.RoomCreateResponse), answer
    created = str(answer.room_id)
    await alice.wait_for(lambda: created in alice.client.rooms)
    return created


@pytest.mark.soak
async def test_homeserver_without_display_names_gets_city(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(homeserver={"overrides": {"enable_set_displayname": False}})
    assert {room["matrix_status"] for room in await city.get("/city/rooms")} == {"linked"}
    alice = await arrive(city, "alice")
    await alice.join("#city_general:city.localhost")
    await city.post("/city/rooms/general/messages", {"body": "hello"}, token=citizen_token("u_1", "Ірина"))
    await alice.wait_for(lambda: ("@citizen_u_1:city.localhost", "hello") in alice.messages)
    assert "enable_set_displayname" in "\n".join(city.service.last_lines(200))


@pytest.mark.soak
async def test_room_under_space_alias_costs_only_the_space(start_city: StartCity) -> None:
    async def alice_has_the_alias(city: RunningCity) -> None:
        with_us = city.homeserver.setup
        city.homeserver.setup = replace(with_us, registrations=())
        await city.homeserver.restart()
        alice = await MatrixUser.arrive(city.homeserver, "alice")
        await _create(alice, alias="city", name="Alice's city", invite_bot=False)
        await alice.leave()
        city.homeserver.setup = with_us
        await city.homeserver.restart()

    city = await start_city(first=alice_has_the_alias)
    assert {room["matrix_status"] for room in await city.get("/city/rooms")} == {"linked"}
    assert "is an ordinary room" in "\n".join(city.service.last_lines(200))


@shared
async def test_direct_chat_is_a_private_matrix_room(city: RunningCity, arrive_here: Arrive) -> None:
    oksana, taras = citizen_token("u_direct_1", "Оксана"), citizen_token("u_direct_2", "Тарас")
    # The other citizen has been in the city.
    await city.post("/city/rooms/general/join", token=taras)
    chat = await city.post("/city/direct", {"with": "citizen:u_direct_2"}, token=oksana)
    path = f"/city/rooms/{chat['id']}"
    for token, body in ((oksana, "привіт"), (taras, "вітаю")):
        await city.post(f"{path}/messages", {"body": body}, token=token)

    async def are_sent() -> bool:
        messages = (await city.get(path, token=taras))["messages"]
        return [(each["body"], each["delivery"]) for each in messages] == [("привіт", "sent"), ("вітаю", "sent")]

    await eventually(are_sent)
    (listed,) = await city.get("/city/direct", token=oksana)
    assert (listed["matrix_status"], listed["joined"]) == ("linked", True)
    marta = await arrive_here(city, "marta")
    refused = await marta.client.join(listed["matrix_room_id"])
    assert isinstance(refused, nio.JoinError)
    assert refused.status_code == "M_FORBIDDEN"
