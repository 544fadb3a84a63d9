"""The route ``/city/people/{subject}``: who is known to whom, and what of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.types import CitizenId, HistoryVisibility, Member, RoomId, UserId
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
BUILDERS = RoomId("city_builders")
ALICE = UserId("@alice:hs")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        await city.city.citizen_names.record(CitizenId("u_2"), "Тарас")
        yield city


async def card(city: InProcessCity, subject: str, token: str | None = OKSANA) -> dict[str, Any]:
    found: dict[str, Any] = await city.get(f"/city/people/{subject}", token=token)
    return found


async def test_citizen_has_name_presence_and_rooms(city: InProcessCity) -> None:
    for room in ("general", "builders"):
        assert (await city.call("POST", f"/city/rooms/{room}/join", token=TARAS)).status == 200
    await city.call("POST", "/city/direct", {"with": "citizen:u_2"}, token=OKSANA)
    found = await card(city, "u_2")
    assert found == found | {
        "subject": "u_2",
        "kind": "citizen",
        "display_name": "Тарас",
        "matrix_user_id": "@citizen_u_2:city.localhost",
        "citizen_id": "u_2",
        "agent_slug": None,
        "presence": "offline",
        "may_message": True,
        "blocked": False,
    }
    assert [each["slug"] for each in found["rooms"]] == ["builders", "general"]
    assert (await card(city, "u_2", None))["may_message"] is False
    assert (await card(city, "u_2", TARAS))["may_message"] is False
    await city.call("PUT", "/city/me/blocks/u_2", token=OKSANA)
    blocked = await card(city, "u_2")
    assert (blocked["blocked"], blocked["may_message"]) == (True, False)


async def test_private_rooms_are_told_to_their_readers_only(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        events = await city.city.room_members.join(tx, BUILDERS, [Member(BUILDERS, ALICE, "Alice")])
        await tx.rooms.set_rules(BUILDERS, join_rule="invite", history_visibility=HistoryVisibility.JOINED)
        events += await city.city.room_members.join(
            tx, BUILDERS, [Member(BUILDERS, UserId("@citizen_u_2:city.localhost"), "Тарас")]
        )
    for event in events:
        city.city.bus.publish(event)
    assert (await card(city, ALICE, TARAS))["display_name"] == "Alice"
    assert [each["id"] for each in (await card(city, ALICE, TARAS))["rooms"]] == ["city_builders"]
    # A Matrix user in rooms that the client may not read is unknown, a citizen has no such room.
    assert (await city.call("GET", f"/city/people/{ALICE}", token=OKSANA)).status == 404
    assert (await card(city, "u_2"))["rooms"] == []


async def test_both_ids_of_linked_person_are_one(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_2"), ALICE, "Alice"), now_ms=1)
    await city.city.account_cache.load()
    found = await card(city, "u_2")
    assert found == await card(city, ALICE)
    assert (found["subject"], found["kind"], found["display_name"]) == (ALICE, "matrix", "Alice")
    assert (found["citizen_id"], found["may_message"]) == ("u_2", True)


async def test_agent_has_its_registered_name(city: InProcessCity) -> None:
    found = await card(city, "agent:scribe")
    assert (found["kind"], found["id"], found["agent_slug"], found["display_name"]) == (
        "agent",
        "scribe",
        "scribe",
        "Писар",
    )
    assert found["may_message"] is True


@pytest.mark.parametrize("subject", ["u_999", "agent:nobody", "@nobody:hs", "@", "agent:", "%00", "x" * 300])
async def test_unknown_people_are_404(city: InProcessCity, subject: str) -> None:
    assert (await city.call("GET", f"/city/people/{subject}", token=OKSANA)).status in {404, 422}


async def test_citizen_without_public_room_is_unknown_to_visitors(city: InProcessCity) -> None:
    """Ids of citizens can be guessed: only inhabitants of the city learn who has which."""
    agent = await city.agent_token("scribe")

    async def status(token: str | None, subject: str = "u_2") -> int:
        (named,) = (await city.get(f"/city/citizens?ids={subject}", token=token))["citizens"]
        found = (await city.call("GET", f"/city/people/{subject}", token=token)).status
        assert named["display_name"] == ("Тарас" if found == 200 else None), "both routes know the same citizens"
        return found

    assert [await status(token) for token in (OKSANA, TARAS, agent, ADMIN_TOKEN)] == [200] * 4
    assert await status(None) == 404
    await city.call("POST", "/city/direct", {"with": "citizen:u_2"}, token=OKSANA)
    assert await status(None) == 404, "a direct chat is private"
    # The presence of all is public, with their names.
    await city.call("POST", "/api/v1/presence/heartbeat", {"session_id": "a"}, token=TARAS)
    assert await status(None) == 200
    await city.call("POST", "/api/v1/presence/heartbeat", {"session_id": "a", "status": "offline"}, token=TARAS)
    assert await status(None) == 404
    assert (await city.call("POST", "/city/rooms/general/join", token=TARAS)).status == 200
    assert await status(None) == 200
    assert (await city.call("POST", "/city/rooms/general/leave", token=TARAS)).status == 200
    assert await status(None) == 404
    await city.call("POST", "/city/rooms/general/messages", {"body": "for all"}, token=TARAS)
    assert await status(None) == 200, "the author of a public message"
    assert (await card(city, "u_2", None))["may_message"] is False


async def test_linked_person_without_public_room_is_unknown_to_visitors(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_2"), ALICE, "Alice"), now_ms=1)
    await city.city.account_cache.load()
    for subject in ("u_2", ALICE):
        assert (await city.call("GET", f"/city/people/{subject}")).status == 404
        assert (await card(city, subject))["display_name"] == "Alice"
