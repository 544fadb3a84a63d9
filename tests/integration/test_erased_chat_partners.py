"""Direct chats of two citizens of whom one, or both, are erased."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert

from daarion_appservice.city.types import CitizenId
from daarion_appservice.storage.tables import citizens
from tests.integration.test_citizen_chats import OKSANA, TARAS, open_chat, say
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import InProcessCity, in_process_city


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        for citizen, name in (("u_1", "Оксана"), ("u_2", "Тарас")):
            await city.city.citizen_names.record(CitizenId(citizen), name)
        yield city


async def erase(city: InProcessCity, citizen: str) -> None:
    """Erase the city's data of a citizen; the homeserver is unavailable."""
    answer = await city.call("DELETE", f"/api/v1/people/{citizen}", token=ADMIN_TOKEN)
    assert answer.status == 202, answer
    city.city.erasures._settling_ms = 0
    await city.city.erasures.step()


async def test_other_citizen_keeps_the_chat(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    await say(city, chat, "mine", TARAS)
    await say(city, chat, "erased", OKSANA)
    await erase(city, "u_1")
    (left,) = await city.get("/city/direct", token=TARAS)
    assert (left["id"], left["citizen"]["display_name"]) == (chat, "Deleted account")
    texts = [each["body"] for each in await city.get(f"/city/rooms/{chat}/messages", token=TARAS)]
    assert texts == ["mine", ""]
    answer = await city.call("POST", f"/city/rooms/{chat}/messages", {"body": "anybody?"}, token=TARAS)
    assert (answer.status, answer.content["code"]) == (409, "room_archived")


async def test_erased_citizen_who_comes_back_gets_a_new_chat(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    await say(city, chat, "from before", TARAS)
    await erase(city, "u_1")
    assert await city.get("/city/direct", token=OKSANA) == []
    new = await open_chat(city)
    assert new["id"] != chat
    await say(city, new["id"], "a new beginning", OKSANA)
    assert "from before" not in str(await city.get(f"/city/rooms/{new['id']}/messages", token=OKSANA))
    assert (await city.call("GET", f"/city/rooms/{chat}/messages", token=OKSANA)).status == 404
    assert len(await city.get("/city/direct", token=TARAS)) == 2
    assert (await open_chat(city, TARAS, "u_1", status=200))["id"] == new["id"]


async def test_chat_of_two_erased_citizens_is_deleted(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    await say(city, chat, "gone", TARAS)
    await erase(city, "u_1")
    await erase(city, "u_2")
    async with city.city.database.read_only() as tx:
        assert await tx.rooms.find(chat) is None


async def test_citizen_who_is_being_erased_gets_no_chat(city: InProcessCity) -> None:
    answer = await city.call("DELETE", "/api/v1/people/u_1", token=ADMIN_TOKEN)
    assert answer.status == 202, answer
    await open_chat(city, TARAS, "u_1", status=404)


async def test_process_unaware_of_erasure_opens_no_chat(city: InProcessCity) -> None:
    await open_chat(city)
    await erase(city, "u_1")
    city.city.identities.erased.replace({})
    async with city.city.database.transaction() as tx:
        await tx.connection.execute(insert(citizens).values(id="u_1", display_name="Оксана", updated_at_ms=0))
    await open_chat(city, TARAS, "u_1", status=404)


async def test_export_does_not_name_who_blocks_the_person(city: InProcessCity) -> None:
    assert (await city.call("PUT", "/city/me/blocks/u_2", token=OKSANA)).status == 204
    exports = [
        (await city.call("GET", f"/api/v1/people/{citizen}/export", token=ADMIN_TOKEN)).content
        for citizen in ("u_1", "u_2")
    ]
    assert ['"block"' in export for export in exports] == [True, False]
    await erase(city, "u_2")
    assert await city.get("/city/me/blocks", token=OKSANA) == {"blocked": []}
