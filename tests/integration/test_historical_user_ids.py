"""Events of users with historical Matrix user ids (spec, appendix "Historical User IDs") are handled like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from daarion_appservice.city.identity import MAX_USER_ID_BYTES, is_user_id
from daarion_appservice.city.types import MatrixRoomId, RoomId
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city

GENERAL, MATRIX_ROOM = RoomId("city_general"), "!hall:city.localhost"
ALICE = "@alice:city.localhost"
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


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
        yield city


async def receive(city: InProcessCity, event_type: str, sender: str, content: Any, **more: Any) -> None:
    event_id = f"${event_type}-{sender}"
    event = {"event_id": event_id, "room_id": MATRIX_ROOM, "type": event_type, "sender": sender, "content": content}
    await city.handle(event | more)


async def test_messages_of_historical_users_are_stored(city: InProcessCity) -> None:
    for user in IDS:
        await receive(city, "m.room.member", user, {"membership": "join"}, state_key=user)
        await receive(city, "m.room.message", user, {"msgtype": "m.text", "body": "hello"})
    messages = await city.get("/city/rooms/general/messages")
    authors = [(each["body"], each["author"]["id"], each["author"]["matrix_user_id"]) for each in messages]
    assert sorted(authors) == sorted(("hello", user, user) for user in IDS)
    async with city.city.database.read_only() as tx:
        assert {member.user_id for member in await tx.members.of_room(GENERAL)} == set(IDS)


async def test_mentions_of_historical_users_are_stored(city: InProcessCity) -> None:
    for user in IDS:
        content = {"msgtype": "m.text", "body": "hello", "m.mentions": {"user_ids": [user]}}
        await receive(city, "m.room.message", ALICE, content, event_id=f"${user}")
    messages = await city.get("/city/rooms/general/messages")
    assert sorted(message["mentions"] for message in messages) == sorted([user] for user in IDS)


async def test_invitations_by_historical_users_open_chats(city: InProcessCity) -> None:
    agent = "@agent_scribe:city.localhost"
    for number, user in enumerate(IDS):
        await receive(city, "m.room.member", user, {"membership": "invite"}, state_key=agent, room_id=f"!chat{number}")
    async with city.city.database.read_only() as tx:
        chats = await tx.direct_chats.pending()
    assert sorted((chat.agent, chat.name) for chat in chats) == sorted(("scribe", user) for user in IDS)


async def test_presence_of_historical_users_can_be_requested(city: InProcessCity) -> None:
    for user in IDS:
        for path in (
            f"/internal/matrix/presence/{quote(user, safe='')}",
            f"/internal/matrix/presence/bulk?user_ids={quote('@a:example.org,' + user, safe='')}",
        ):
            answer = await city.call("GET", path, listener="matrix", token=SERVICE_TOKEN)
            # No homeserver runs, but the request is valid.
            assert answer.status in {200, 502, 503}, (user, answer)
        answer = await city.get(f"/api/v1/presence?ids={quote('u_1,' + user + ',agent:scribe', safe='')}")
        assert [each["user_id"] for each in answer["presences"]] == ["u_1", user, "agent:scribe"]


@pytest.mark.parametrize(
    ("user", "is_valid"),
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
def test_user_id_is_recognised(user: str, is_valid: bool) -> None:
    assert is_user_id(user) is is_valid
