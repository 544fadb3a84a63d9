"""Historical Matrix user ids (spec, appendix "Historical User IDs"), of which those who have them are heard like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from daarion_appservice.city.identity import MAX_USER_ID_BYTES, is_user_id
from daarion_appservice.city.types import MatrixRoomId, RoomId
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city

GENERAL, HALL = RoomId("city_general"), "!hall:city.localhost"
IDS = [
    "@🛒:example.org",
    "@Alice Upper:example.org",
    "@імя:example.org",
    "@with space:example.org",
    "@a,b:example.org",
    "@a/b?c#d%e:example.org",
    "@:example.org",
    "@\x01:example.org",
    "@\u202egpj:example.org",
    "@a@b:[::1]:8448",
]

each_id = pytest.mark.parametrize("user", IDS, ids=ascii)


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(HALL))
        yield city


async def comes(city: InProcessCity, event_type: str, sender: str, content: Any, **more: Any) -> None:
    event = {"event_id": f"${event_type}", "room_id": HALL, "type": event_type, "sender": sender, "content": content}
    async with city.city.database.transaction() as tx:
        happened = await city.city.handlers.handle(tx, event | more)
    for each in happened:
        city.city.bus.publish(each)


@each_id
async def test_historical_user_is_heard(city: InProcessCity, user: str) -> None:
    await comes(city, "m.room.member", user, {"membership": "join"}, state_key=user)
    await comes(city, "m.room.message", user, {"msgtype": "m.text", "body": "hello"})
    (message,) = await city.get("/city/rooms/general/messages")
    assert (message["body"], message["author"]["id"], message["author"]["matrix_user_id"]) == ("hello", user, user)
    async with city.city.database.reading() as tx:
        assert [member.user_id for member in await tx.members.of_room(GENERAL)] == [user]


@each_id
async def test_historical_user_is_mentioned(city: InProcessCity, user: str) -> None:
    content = {"msgtype": "m.text", "body": "hello", "m.mentions": {"user_ids": [user]}}
    await comes(city, "m.room.message", "@alice:city.localhost", content)
    (message,) = await city.get("/city/rooms/general/messages")
    assert message["mentions"] == [user]


@each_id
async def test_historical_user_invites_an_agent(city: InProcessCity, user: str) -> None:
    agent = "@agent_scribe:city.localhost"
    await comes(city, "m.room.member", user, {"membership": "invite"}, state_key=agent, room_id="!chat")
    async with city.city.database.reading() as tx:
        (chat,) = await tx.direct_chats.pending()
    assert (chat.agent, chat.name) == ("scribe", user)


@each_id
async def test_presence_of_a_historical_user_is_asked(city: InProcessCity, user: str) -> None:
    for path in (
        f"/internal/matrix/presence/{quote(user, safe='')}",
        f"/internal/matrix/presence/bulk?user_ids={quote('@a:example.org,' + user, safe='')}",
    ):
        answer = await city.call("GET", path, listener="matrix", token=SERVICE_TOKEN)
        # There is no homeserver to ask: but what is asked is no mistake.
        assert answer.status in {200, 502, 503}, answer
    answer = await city.get(f"/api/v1/presence?ids={quote('u_1,' + user + ',agent:scribe', safe='')}")
    assert [each["user_id"] for each in answer["presences"]] == ["u_1", user, "agent:scribe"]


@pytest.mark.parametrize(
    ("user", "is_one"),
    [
        *((user, True) for user in IDS),
        ("@" + "ї" * 121 + ":example.org", True),
        ("@" + "ї" * 122 + ":example.org", False),
        ("@" + "a" * (MAX_USER_ID_BYTES - 3) + ":h", True),
        ("@" + "a" * (MAX_USER_ID_BYTES - 2) + ":h", False),
        ("@a:b:c:d", False),
        ("@a\0:example.org", False),
        ("@a:exa mple.org", False),
        ("@\ud83d:example.org", False),
        ("@a", False),
        ("a:example.org", False),
        ("", False),
    ],
    ids=ascii,
)
def test_user_id_is_recognised(user: str, is_one: bool) -> None:
    assert is_user_id(user) is is_one
