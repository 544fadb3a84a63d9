"""Users in the namespace whose id no citizen can have: an administrator of the homeserver may create them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId, RoomId
from tests.parts.in_process_city import InProcessCity, in_process_city

GENERAL, HALL = RoomId("city_general"), "!hall:city.localhost"
ALICE = "@alice:city.localhost"
IDS = [
    "@citizen_u_1=00:city.localhost",
    "@citizen_=00:city.localhost",
    "@citizen_=e2=80=ae:city.localhost",
    "@citizen_u=0a1:city.localhost",
    "@citizen_" + "x" * 201 + ":city.localhost",
    "@citizen_" + "=ff" * 60 + ":city.localhost",
    "@citizen_agent=3adaarwizz:city.localhost",
]


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(HALL))
        yield city


async def handle(city: InProcessCity, event_id: str, sender: str, content: dict[str, Any], **more: Any) -> None:
    event = {"event_id": event_id, "room_id": HALL, "type": "m.room.message", "sender": sender, "content": content}
    await city.handle(event | more)


@pytest.mark.parametrize("user", IDS, ids=ascii)
async def test_event_of_ghost_without_citizen_is_ignored(city: InProcessCity, user: str) -> None:
    hello = {"msgtype": "m.text", "body": "hello"}
    await handle(city, "$1", user, hello)
    await handle(city, "$2", user, {"membership": "join"}, type="m.room.member", state_key=user)
    alice = {"displayname": "Alice", "membership": "join"}
    await handle(city, "$0", ALICE, alice, type="m.room.member", state_key=ALICE)
    await handle(city, "$3", ALICE, hello | {"m.mentions": {"user_ids": [user]}})
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$3", "key": "👍"}}
    await handle(city, "$4", user, reaction, type="m.reaction")
    (message,) = await city.get("/city/rooms/general/messages")
    assert message["author"]["id"] == ALICE
    assert (message["mentions"], message["reactions"]) == ([], [])
