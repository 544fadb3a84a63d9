"""Invitations of the city's users who do not come to chats are declined with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nio
import pytest
import pytest_asyncio
from aiohttp import web

from daarion_appservice.city.types import AgentSlug, MatrixRoomId, Room, RoomId
from daarion_appservice.clock import now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.storage.database import Database
from tests.parts.city import RunningCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import Arrive, MatrixUser, arriving
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOT = "@city:city.localhost"
CITIZEN = "@citizen_u_2:city.localhost"
REMOVED = "@agent_removed:city.localhost"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    """A city for all tests, each of which has people of its own."""
    async with shared_city(tmp_path_factory.mktemp("invitations")) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def arrive() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


async def invites(person: MatrixUser, *users: str, name: str | None = None, is_direct: bool = False) -> str:
    answer = await person.client.room_create(invite=list(users), name=name, is_direct=is_direct)
    assert isinstance(answer, nio.RoomCreateResponse), answer
    return str(answer.room_id)


async def membership(person: MatrixUser, room: str, user: str) -> dict[str, Any]:
    answer = await person.client.room_get_state_event(room, "m.room.member", user)
    assert isinstance(answer, nio.RoomGetStateEventResponse), answer
    return dict(answer.content)


async def is_declined(person: MatrixUser, room: str, user: str, word: str) -> None:
    async def declined() -> bool:
        return bool((await membership(person, room, user))["membership"] == "leave")

    await eventually(declined)
    assert word in (await membership(person, room, user))["reason"]


async def test_invitations_without_handler_are_declined(city: RunningCity, arrive: Arrive) -> None:
    person = await arrive(city, "olena")
    await city.post("/city/rooms/general/messages", {"body": "Привіт"}, token=citizen_token("u_1"))
    ghosts = {
        "@citizen_u_1:city.localhost": "Citizens",
        "@citizen_nobody:city.localhost": "Citizens",
        "@agent_unknown:city.localhost": "no such agent",
        "@city_observer:city.localhost": "do not chat",
        BOT: "answer in direct chats",
    }
    room = await invites(person, *ghosts)
    for user, word in ghosts.items():
        await is_declined(person, room, user, word)
    # A room with a name may be meant to be adopted.
    named = await invites(person, BOT, "@agent_unknown:city.localhost", name="Клуб")
    await is_declined(person, named, "@agent_unknown:city.localhost", "no such agent")
    assert (await membership(person, named, BOT))["membership"] == "invite"


async def test_invitations_during_outage_are_declined(city: RunningCity, arrive: Arrive) -> None:
    person = await arrive(city, "oksana")
    await city.service.stop()
    room = await invites(person, "@citizen_u_1:city.localhost", BOT)
    await city.start()
    await is_declined(person, room, "@citizen_u_1:city.localhost", "Citizens")
    await is_declined(person, room, BOT, "answer in direct chats")


async def test_lost_invitations_are_found_at_start(city: RunningCity, arrive: Arrive) -> None:
    person = await arrive(city, "daryna")
    await city.post("/city/rooms/general/messages", {"body": "Добрий ранок"}, token=citizen_token("u_2"))
    await person.join("#city_general:city.localhost")
    await person.wait_for_event(lambda event: event["content"].get("body") == "Добрий ранок")
    await city.service.stop()
    async with swallowing(city.matrix_port) as swallowed:
        private = await invites(person, CITIZEN)

        async def is_lost() -> bool:
            return CITIZEN in "".join(swallowed)

        await eventually(is_lost)
    await city.start()
    await is_declined(person, private, CITIZEN, "Citizens")


@asynccontextmanager
async def swallowing(port: int) -> AsyncIterator[list[str]]:
    """A server in the city's place that acknowledges transactions and loses them."""
    swallowed: list[str] = []

    async def take(request: web.Request) -> web.Response:
        swallowed.append(await request.text())
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield swallowed
    finally:
        await runner.cleanup()


async def test_invitations_of_removed_agents_end(city: RunningCity, arrive: Arrive) -> None:
    """One had been invited to a chat, and was removed before it came."""
    person = await arrive(city, "iryna")
    await city.service.stop()
    room = await invites(person, REMOVED)
    chat = Room(
        RoomId("direct_1"),
        "direct_1",
        person.client.user_id,
        "",
        False,
        False,
        now_ms(),
        agent=AgentSlug("removed"),
        matrix_room_id=MatrixRoomId(room),
    )
    database = Database(city.database_url)
    async with database.transaction() as tx:
        await tx.rooms.add(chat, created_by=None)
    await database.close()
    await city.start()
    await is_declined(person, room, REMOVED, "no such agent")


async def test_bot_answers_commands_in_a_direct_chat(city: RunningCity, arrive: Arrive) -> None:
    person = await arrive(city, "sofia")
    room = await invites(person, BOT, is_direct=True)
    greeting = await person.wait_for_event(_notice(room, "rooms: the city's rooms"))
    assert greeting["sender"] == BOT
    await person.send_text(room, "кімнати")
    rooms = await person.wait_for_event(_notice(room, "#city_general:city.localhost"))
    assert rooms["content"]["body"].startswith("Кімнати:")
    await person.send_text(room, "agents")
    await person.wait_for_event(_notice(room, "@agent_daarwizz:city.localhost"))
    other = await arrive(city, "bohdan")
    await person.client.room_invite(room, other.client.user_id)
    await other.join(room)
    await person.send_text(room, "who")
    await person.send_text(room, f"{BOT} хто")
    await person.wait_for_event(_notice(room, "Онлайн:"))
    sent = [each for each in person.events if each["room_id"] == room and each["sender"] == BOT]
    assert [each["content"]["body"].split(":")[0] for each in sent if "body" in each["content"]] == [
        "Commands",
        "Кімнати",
        "Agents",
        "Онлайн",
    ]


async def test_bot_answers_admin_commands_of_admins(city: RunningCity, arrive: Arrive) -> None:
    await city.service.stop()
    config_edit.set_values(city.config, {"city.admins": ["@alice:city.localhost"]})  # type: ignore[dict-item]  # a list
    await city.start()
    alice, bob = await arrive(city, "alice"), await arrive(city, "bob")
    hers, his = await invites(alice, BOT, is_direct=True), await invites(bob, BOT, is_direct=True)
    greeting = await alice.wait_for_event(_notice(hers, "rooms: the city's rooms"))
    assert "doctor: what does not work" in greeting["content"]["body"]
    greeting = await bob.wait_for_event(_notice(his, "rooms: the city's rooms"))
    assert "doctor" not in greeting["content"]["body"]
    await alice.send_text(hers, "status")
    status = (await alice.wait_for_event(_notice(hers, "Status:")))["content"]["body"]
    assert "messages to Matrix: 0 waiting, 0 given up" in status
    await alice.send_text(hers, "діагностика")
    await alice.wait_for_event(_notice(hers, "усі перевірки"))
    await bob.send_text(his, "retry")
    await bob.wait_for_event(_notice(his, "You may not do that"))


def _notice(room: str, part: str) -> Any:
    return lambda event: event["room_id"] == room and part in event["content"].get("body", "")
