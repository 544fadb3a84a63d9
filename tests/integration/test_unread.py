"""Tests of the route ``/city/me/unread``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.types import Member, RoomId, UserId
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city

OKSANA = citizen_token("u_1", "Оксана")
TARAS = citizen_token("u_2", "Тарас")
GENERAL = RoomId("city_general")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def unread(city: InProcessCity, since: str, token: str | None = OKSANA) -> dict[str, int]:
    return {each["room_id"]: each["count"] for each in await city.get(f"/city/me/unread?since={since}", token=token)}


async def say(city: InProcessCity, body: str, token: str, room: str = "general") -> dict[str, str]:
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body}, token=token)
    assert answer.status == 201, answer
    content: dict[str, str] = answer.content
    return content


async def test_unread_counts_messages_of_others_only(city: InProcessCity) -> None:
    first = await say(city, "перше", TARAS)
    since = f"city_general:{first['seq']},city_builders:0"
    assert await unread(city, since) == {"city_general": 0, "city_builders": 0}

    await say(city, "моє, з іншого пристрою", OKSANA)
    reaction = f"/city/rooms/general/messages/{first['id']}/reactions/%F0%9F%8C%BB"
    assert (await city.call("PUT", reaction, token=TARAS)).status == 200
    async with city.city.database.transaction() as tx:
        await city.city.room_members.join(tx, GENERAL, [Member(GENERAL, UserId("@alice:hs"), "Alice")])
    assert (await city.get("/city/rooms/general"))["last_seq"] > int(first["seq"]) + 1
    assert await unread(city, since) == {"city_general": 0, "city_builders": 0}

    second = await say(city, "друге", TARAS)
    await say(city, "третє", TARAS)
    await say(city, "будівельникам", TARAS, "builders")
    assert await unread(city, since) == {"city_general": 2, "city_builders": 1}
    assert await unread(city, since, None) == {"city_general": 3, "city_builders": 1}
    deleted = await city.call("DELETE", f"/city/rooms/general/messages/{second['id']}", token=TARAS)
    assert deleted.status == 200
    assert await unread(city, since) == {"city_general": 1, "city_builders": 1}


async def test_unread_count_stops_at_100(city: InProcessCity) -> None:
    for number in range(101):
        await say(city, f"слово {number}", TARAS)
    assert await unread(city, "city_general:0") == {"city_general": 100}


async def test_unread_omits_unreadable_rooms(city: InProcessCity) -> None:
    assert await unread(city, "city_nowhere:1,city_general:0") == {"city_general": 0}


@pytest.mark.parametrize(
    "since", ["", "city_general", "city_general:", ":1", "city_general:x", "a:1,,b:1", "a:" + "9" * 30, "a:%D9%A1"]
)
async def test_invalid_read_marks_are_422(city: InProcessCity, since: str) -> None:
    answer = await city.call("GET", f"/city/me/unread?since={since}")
    assert answer.status == 422


async def test_more_than_100_marks_are_422(city: InProcessCity) -> None:
    marks = [f"r{number}:1" for number in range(101)]
    assert (await city.call("GET", f"/city/me/unread?since={','.join(marks[:100])}")).content == []
    assert (await city.call("GET", f"/city/me/unread?since={','.join(marks)}")).status == 422
