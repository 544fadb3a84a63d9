"""The route ``/api/v1/agents/{agent_id}/messages``: what of an agent's messages which reader gets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.messages import Draft
from daarion_appservice.city.types import Author, AuthorKind, HistoryVisibility
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def say(city: InProcessCity, body: str, room: str = "general") -> str:
    posted = await city.city.messages.post(SCRIBE, room, Draft(body), requests_replies=False)
    return posted.message.id


async def bodies(city: InProcessCity, token: str | None = None, query: str = "") -> list[str]:
    answer = await city.get(f"/api/v1/agents/scribe/messages{query}", token=token)
    return [each["message"]["body"] for each in answer]


async def set_rules(city: InProcessCity, join_rule: str) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock("builders")
        assert room is not None
        await tx.rooms.set_rules(room.id, join_rule=join_rule, history_visibility=HistoryVisibility.JOINED)


async def test_newest_messages_of_the_agent_come_first(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/general/messages", {"body": "питання"}, token=OKSANA)
    await say(city, "перша")
    deleted = await say(city, "зайва")
    await say(city, "**друга**", "builders")
    for number in range(3):
        await say(city, f"ще {number}")
    async with city.city.database.transaction() as tx:
        await tx.messages.delete(deleted)  # type: ignore[arg-type]
    assert await bodies(city, query="?limit=50") == ["ще 2", "ще 1", "ще 0", "**друга**", "перша"]
    assert await bodies(city, query="?limit=2") == ["ще 2", "ще 1"]
    found = (await city.get("/api/v1/agents/scribe/messages"))[3]
    assert found["room"] == {"id": "city_builders", "slug": "builders", "name": "Builders"}
    assert found["excerpt"] == "друга"
    assert await city.get("/api/v1/agents/daarwizz/messages") == []


async def test_private_messages_are_for_their_readers(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/builders/join", token=TARAS)
    await say(city, "відкрите", "builders")
    await set_rules(city, "knock")
    await say(city, "закрите", "builders")
    assert await bodies(city, TARAS) == ["закрите", "відкрите"]
    assert await bodies(city, OKSANA) == ["відкрите"]
    assert await bodies(city) == ["відкрите"]


async def test_unlisted_rooms_are_left_out(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/builders/join", token=TARAS)
    await set_rules(city, "invite")
    await say(city, "між нами", "builders")
    assert await bodies(city, TARAS) == []


@pytest.mark.parametrize(
    ("path", "status"), [("nobody/messages", 404), ("scribe/messages?limit=0", 422), ("scribe/messages?limit=51", 422)]
)
async def test_invalid_requests_are_refused(city: InProcessCity, path: str, status: int) -> None:
    assert (await city.call("GET", f"/api/v1/agents/{path}")).status == status
