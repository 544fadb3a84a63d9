"""Upgrades of rooms that need an invitation, by somebody else, after which the bot has no power to invite."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.parts.city import eventually
from tests.parts.room_life import ALICE, BOT, OKSANA, RoomLifeHarness

pytestmark = pytest.mark.asyncio(loop_scope="package")

OKSANAS_GHOST = "@citizen_u_1:city.localhost"
OBSERVER = "@city_observer:city.localhost"


async def upgrade_without_power_of_bot(harness: RoomLifeHarness, slug: str) -> str:
    """Let Alice upgrade a private room of which Oksana is a member; return the new room, in which the bot has no power."""
    old = await harness.open(slug)
    await harness.post(slug, "one")
    await harness.wait_for_members(old, BOT, OBSERVER, OKSANAS_GHOST)
    await harness.set_state(old, "m.room.join_rules", {"join_rule": "invite"}, bot=True)
    await harness.give_power(old, ALICE, 200 if harness.version == "12" else 100)
    if harness.version != "12":
        # Of version 12 the bot is the creator, whose power an upgrade by somebody else does not copy.
        await harness.give_power(old, BOT, 0)
    return await harness.upgrade(old, "12")


async def invite(harness: RoomLifeHarness, room: str, *users: str) -> None:
    for user in users:
        await harness.call("POST", f"/rooms/{quote(room)}/invite", {"user_id": user})


async def deliveries(harness: RoomLifeHarness, slug: str) -> dict[str, str]:
    status, messages = await harness.city.call("GET", f"/city/rooms/{slug}/messages", token=OKSANA)
    assert status == 200, messages
    return {message["body"]: message["delivery"] for message in messages}


def is_sent(harness: RoomLifeHarness, slug: str, body: str) -> Any:
    async def sent() -> bool:
        return (await deliveries(harness, slug)).get(body) == "sent"

    return sent


async def test_invited_ghosts_come_along_to_the_new_room(harness: RoomLifeHarness) -> None:
    new = await upgrade_without_power_of_bot(harness, "moved-with-invitations")

    # As Element invites the members of the old room. The bot's invitation comes last: the city cannot follow before it.
    await invite(harness, new, OKSANAS_GHOST, OBSERVER)
    await harness.alice.send_text(new, "two")
    await invite(harness, new, BOT)

    await harness.wait_for_room("moved-with-invitations", matrix_room_id=new, matrix_status="linked")
    await harness.wait_for_members(new, BOT, OBSERVER, OKSANAS_GHOST)
    await harness.post("moved-with-invitations", "three")
    await eventually(is_sent(harness, "moved-with-invitations", "three"))
    await harness.expect_messages("moved-with-invitations", "one", "two", "three")


async def test_ghosts_that_cannot_be_invited_come_with_the_power_of_the_bot(harness: RoomLifeHarness) -> None:
    slug = "moved-without-power"
    new = await upgrade_without_power_of_bot(harness, slug)
    await invite(harness, new, BOT)

    await harness.wait_for_room(slug, matrix_room_id=new, matrix_status="linked")
    shown = await harness.room(slug)
    assert "has power level 0" in shown["matrix_error"]
    assert OKSANAS_GHOST not in await harness.members(new)
    assert await deliveries(harness, slug) == {"one": "sent"}, "she is a member in the city"

    levels = await harness.call("GET", f"/rooms/{quote(new)}/state/m.room.power_levels/")
    levels["users"] = levels.get("users", {}) | {BOT: 100}
    await harness.set_state(new, "m.room.power_levels", levels)
    await harness.wait_for_members(new, BOT, OKSANAS_GHOST)
    await harness.post(slug, "two")
    await eventually(is_sent(harness, slug, "two"))


async def test_false_successor_of_a_stranger_is_declined_at_once(harness: RoomLifeHarness) -> None:
    await harness.city.post("/city/rooms", {"name": "Claimed", "slug": "claimed"}, token=OKSANA)
    room = await harness.wait_for_room("claimed", matrix_status="linked")
    old = room["matrix_room_id"]
    assert ALICE not in await harness.members(old)
    claiming = await harness.create(preset="private_chat", creation_content={"predecessor": {"room_id": old}})
    await invite(harness, claiming, OKSANAS_GHOST)

    async def is_declined() -> bool:
        path = f"/rooms/{quote(claiming)}/state/m.room.member/{quote(OKSANAS_GHOST)}"
        return bool((await harness.call("GET", path))["membership"] == "leave")

    await eventually(is_declined)
