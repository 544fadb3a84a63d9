"""Tests of the routes ``/city/feed`` and ``/city/home``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.presence import PresenceState, Status, Transition
from daarion_appservice.city.types import Member, RoomId, SubjectId, UserId
from daarion_appservice.realtime import feed_writer
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.waiting import WAIT_S

OKSANA = citizen_token("u_1", "Оксана")
GENERAL = RoomId("city_general")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def test_feed_is_paged_newest_first(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms", {"name": "Наука", "description": "Спільнота"}, token=OKSANA)
    for body in ("перше", "друге " + "x" * 400):
        await city.call("POST", "/city/rooms/nauka/messages", {"body": body}, token=OKSANA)
    members = [Member(GENERAL, UserId(user), "Хтось") for user in ("@alice:hs", "@agent_scribe:city.localhost")]
    async with city.city.database.transaction() as tx:
        await city.city.room_members.join(tx, GENERAL, members)

    feed = await city.get("/city/feed?limit=4")
    assert [(each["kind"], each["room_id"]) for each in feed] == [
        ("member_joined", GENERAL),
        ("room_message", "city_nauka"),
        ("room_message", "city_nauka"),
        ("room_created", "city_nauka"),
    ]
    assert [each["actor"] and each["actor"]["id"] for each in feed] == ["@alice:hs", "u_1", "u_1", "u_1"]
    assert feed[2]["payload"]["body"] == "перше"
    assert len(feed[1]["payload"]["body"]) == 280
    assert feed[3]["payload"] == {"slug": "nauka", "name": "Наука", "description": "Спільнота"}

    one_by_one, before = [], ""
    for _ in range(4):
        (entry,) = await city.get(f"/city/feed?limit=1{before}")
        one_by_one.append(entry)
        before = f"&before={entry['id']}"
    assert one_by_one == feed


async def test_home_has_documented_fields(city: InProcessCity) -> None:
    for room, count in (("builders", 2), ("welcome", 1)):
        for number in range(count):
            await city.call("POST", f"/city/rooms/{room}/messages", {"body": f"{room} {number}"}, token=OKSANA)
    await city.call("POST", "/api/v1/agents/scribe/heartbeat", {}, token=await city.agent_token("scribe"))

    home = await city.get("/city/home")

    assert home["online"] == {"citizens": 0, "agents": 1, "people": 0, "total": 1}
    assert [each["payload"]["body"] for each in home["feed"]] == ["welcome 0", "builders 1", "builders 0"]
    assert [room["slug"] for room in home["popular_rooms"]] == ["builders", "welcome", "general"]
    assert home["second_me"] == {"available": False}


async def test_home_has_as_many_entries_as_asked_for(city: InProcessCity) -> None:
    for number in range(5):
        await city.call("POST", "/city/rooms/general/messages", {"body": f"слово {number}"}, token=OKSANA)
    assert len((await city.get("/city/home"))["feed"]) == 3
    assert len((await city.get("/city/home?feed=4"))["feed"]) == 4
    kinds = [each["kind"] for each in (await city.get("/city/home?feed=30"))["feed"]]
    assert kinds == ["room_message"] * 5 + ["room_created"] * 3
    for feed in ("0", "31", "x"):
        assert (await city.call("GET", f"/city/home?feed={feed}")).status == 422


async def test_home_prefers_messages_and_groups_joins(city: InProcessCity) -> None:
    for number in range(3):
        await city.call("POST", "/city/rooms/general/messages", {"body": f"**слово** {number}"}, token=OKSANA)
    for name in ("alice", "bob", "carol"):
        async with city.city.database.transaction() as tx:
            await city.city.room_members.join(tx, GENERAL, [Member(GENERAL, UserId(f"@{name}:hs"), name)])

    feed = (await city.get("/city/home"))["feed"]

    assert [(each["kind"], each["payload"].get("body"), each["payload"].get("count")) for each in feed] == [
        ("member_joined", None, "3"),
        ("room_message", "слово 2", None),
        ("room_message", "слово 1", None),
    ]
    assert {(each["room"]["slug"], each["room"]["name"]) for each in feed} == {("general", "General")}
    assert [each["kind"] for each in await city.get("/city/feed?limit=3")] == ["member_joined"] * 3


@asynccontextmanager
async def writing_of_agents(city: InProcessCity) -> AsyncIterator[None]:
    running = asyncio.create_task(city.city.feed_writer.run())
    async with asyncio.timeout(WAIT_S):
        while not city.city.feed_writer._is_running:
            await asyncio.sleep(0.005)
    yield
    running.cancel()
    await asyncio.wait([running])


async def test_agent_online_entry_at_most_once_an_hour(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_writer, "_START_TIME_S", 0.0)

    def comes(subject: str) -> None:
        transition = Transition(SubjectId(subject), PresenceState(), PresenceState(Status.ONLINE))
        city.city.feed_writer.on_presence_changed(PresenceChanged(transition, 1))

    async def news() -> list[str]:
        return [each["actor"]["id"] for each in await city.get("/city/feed") if each["kind"] == "agent_online"]

    comes("agent:scribe")  # while another process leads
    async with writing_of_agents(city):
        for subject in ("u_1", "@alice:hs", "agent:nobody", "agent:daarwizz", "agent:daarwizz"):
            comes(subject)

        async def is_received() -> bool:
            return await news() == ["daarwizz"]

        await eventually(is_received)
        comes("agent:daarwizz")
        comes("agent:scribe")

        async def both_are_told() -> bool:
            return await news() == ["scribe", "daarwizz"]

        await eventually(both_are_told)
