"""The life of rooms: renamed, archived, without aliases, without the bot, encrypted; in one city for each room version."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from daarion_appservice.city.types import RoomId, UserId
from daarion_appservice.config import loading as config_file
from daarion_appservice.storage.database import Database
from daarion_appservice.wiring import build_city
from tests.parts.city import eventually
from tests.parts.frames import next_frame
from tests.parts.room_life import ALICE, BOT, OKSANA, RoomLifeHarness

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def expect_room_changed(socket: aiohttp.ClientWebSocketResponse, **wanted: Any) -> None:
    """Wait for an event of a room with these fields."""
    while True:
        event = await next_frame(socket)
        if event["event"] == "city.room.updated" and all(event["room"][key] == value for key, value in wanted.items()):
            return


async def system_entries(harness: RoomLifeHarness, slug: str) -> list[tuple[str, str]]:
    feed = await harness.city.get("/city/feed?limit=100")
    return [
        (each["payload"]["what"], each["payload"]["name"])
        for each in reversed(feed)
        if each["kind"] == "system" and each["room_id"] == f"city_{slug}"
    ]


async def test_a_room_is_renamed_from_either_side(harness: RoomLifeHarness) -> None:
    agora = await harness.open("agora")
    refused = await harness.city.call("PATCH", "/city/rooms/agora", {"name": "Мій"}, token=OKSANA)
    assert (refused[0], refused[1]["code"]) == (403, "power_too_low")

    async with harness.city.session.ws_connect(f"{harness.city.api_url}/ws/city/rooms/agora") as page:
        await harness.patch("agora", {"name": "Агора", "description": "Площа"})
        await expect_room_changed(page, name="Агора", description="Площа")
        await harness.alice.wait_for(lambda: harness.alice.client.rooms[agora].name == "Агора")
        await harness.alice.wait_for(lambda: harness.alice.client.rooms[agora].topic == "Площа")

        await harness.give_power(agora, ALICE, 50)
        await harness.set_state(agora, "m.room.name", {"name": "Базар"})
        await expect_room_changed(page, name="Базар", description="Площа")
        await harness.set_state(agora, "m.room.topic", {"topic": "Торгова площа"})
        await expect_room_changed(page, description="Торгова площа")

    assert await system_entries(harness, "agora") == [("room_renamed", "Агора"), ("room_renamed", "Базар")]

    async def is_called_so_there() -> bool:
        return bool((await harness.state(agora, "m.room.name"))["name"] == "Базар")

    await eventually(is_called_so_there)


async def test_archived_room_is_read_only_until_reopened(harness: RoomLifeHarness) -> None:
    attic, space = await harness.open("attic"), await harness.space()
    await harness.alice.send_text(attic, "before")
    await harness.expect_messages("attic", "before")
    levels = await harness.state(attic, "m.room.power_levels")

    async def is_closed() -> bool:
        return bool(await harness.state(space, "m.space.child", attic) == {})

    assert (await harness.patch("attic", {"archived": True}))["archived"] is True
    await eventually(is_closed)

    async def may_speak() -> bool:
        path = f"/rooms/{quote(attic)}/send/m.room.message/{next(harness.numbers)}"
        status, _ = await harness.matrix("PUT", path, {"msgtype": "m.text", "body": "am I heard?"})
        return status == 200

    async def may_not_speak() -> bool:
        return not await may_speak()

    await eventually(may_not_speak)
    assert "before" in await harness.matrix_bodies(attic)
    await harness.wait_for_visibility(attic, "private")
    there = await harness.call("GET", f"/directory/room/{quote('#city_attic:city.localhost')}")
    assert there["room_id"] == attic, "the alias stays"
    assert "attic" not in [room["slug"] for room in await harness.city.get("/city/rooms")]

    # Somebody with power opens it on Matrix: the city closes it again.
    await harness.set_state(attic, "m.room.power_levels", levels, bot=True)
    await harness.give_power(attic, ALICE, 60)
    await harness.set_state(attic, "m.room.topic", {"topic": "moderators may still describe it"})
    await harness.wait_for_room("attic", description="moderators may still describe it")

    await harness.patch("attic", {"archived": False})

    async def is_open() -> bool:
        return bool((await harness.state(space, "m.space.child", attic)) and await may_speak())

    await eventually(is_open)
    # Whom the room trusts stays as it was changed meanwhile.
    levels["users"] |= {ALICE: 60}

    async def has_levels() -> bool:
        return bool(await harness.state(attic, "m.room.power_levels") == levels)

    await eventually(has_levels)
    assert await system_entries(harness, "attic") == [("room_archived", "Attic"), ("room_reopened", "Attic")]
    await harness.wait_for_visibility(attic, "public")


async def test_bot_without_power_is_reported_until_granted(harness: RoomLifeHarness) -> None:
    slug = "powerless"
    old = await harness.open(slug)
    levels = await harness.state(old, "m.room.power_levels")
    levels["users"] = {ALICE: 200} if harness.version == "12" else {BOT: 100, ALICE: 100}
    await harness.set_state(old, "m.room.power_levels", levels, bot=True)
    new = await harness.upgrade(old, "12")
    if harness.version == "10":
        await harness.wait_for_room(slug, matrix_room_id=new, matrix_status="linked", matrix_error=None)
        demoted = await harness.state(new, "m.room.power_levels")
        await harness.set_state(new, "m.room.power_levels", demoted | {"users": {}})

    async def says_so() -> bool:
        error = (await harness.room(slug))["matrix_error"] or ""
        return f"{BOT} has power level 0" in error and "power level 100" in error

    await eventually(says_so)
    assert (await harness.room(slug))["matrix_room_id"] == new
    await harness.alice.join(new)

    async def notices() -> int:
        return [BOT in body and "power level 100" in body for body in await harness.matrix_bodies(new)].count(True)

    async def is_notified() -> bool:
        return await notices() == 1

    await eventually(is_notified)
    # Synapse forgets transaction ids when it restarts: only the stored error keeps the notice from being repeated.
    await harness.city.service.stop()
    await harness.city.homeserver.restart()
    await harness.city.start()
    await harness.open("opened-later")  # The reconciler checks rooms in the order of their creation.
    assert await notices() == 1
    await harness.alice.send_text(new, "still heard")
    await harness.expect_messages(slug, "still heard")
    await harness.set_state(
        new, "m.room.power_levels", await harness.state(new, "m.room.power_levels") | {"users": {BOT: 100}}
    )
    await harness.wait_for_room(slug, matrix_status="linked", matrix_error=None)


async def test_removed_alias_is_restored_or_reported(harness: RoomLifeHarness) -> None:
    room = await harness.open("lost")
    alias = "#city_lost:city.localhost"
    await harness.call("DELETE", f"/directory/room/{quote(alias)}", bot=True)
    # Whoever asks for it gets it: the homeserver asks the city, which sets it again.
    assert (await harness.call("GET", f"/directory/room/{quote(alias)}"))["room_id"] == room
    inside = build_city(config_file.load(harness.city.config))
    await harness.call("DELETE", f"/directory/room/{quote(alias)}", bot=True)
    inside.room_links.slugs_being_resolved.add("lost")
    for _ in range(2):
        assert await inside.matrix_rooms.alias_exists(alias), "also while the city looks it up itself"
    inside.room_links.slugs_being_resolved.clear()
    assert (await harness.call("GET", f"/directory/room/{quote(alias)}"))["room_id"] == room

    other = await harness.create(name="Чужа")
    await harness.call("PUT", f"/rooms/{quote(other)}/state/m.room.join_rules/", {"join_rule": "public"})
    await harness.call("DELETE", f"/directory/room/{quote(alias)}", bot=True)
    await harness.call("POST", f"/join/{quote(other)}", {}, bot=True)
    await harness.call("PUT", f"/directory/room/{quote(alias)}", {"room_id": other}, bot=True)
    # No event tells of that; a change of the canonical alias makes the city check.
    await harness.give_power(room, ALICE, 60)
    await harness.set_state(room, "m.room.canonical_alias", {})
    async with inside.database.read_only() as tx:
        rooms = [room for room in await tx.rooms.all() if room.slug in {"general", "lost"}]
    assert [room.slug for room in await inside.room_links.misplaced(rooms)] == ["lost"], "or when it looks around"
    await inside.close()
    shown = await harness.wait_for_room("lost", matrix_status="failed")
    assert other in shown["matrix_error"]
    assert shown["matrix_room_id"] == room

    await harness.call("DELETE", f"/directory/room/{quote(alias)}", bot=True)
    await harness.set_state(room, "m.room.canonical_alias", {"garbage": []})
    await harness.wait_for_room("lost", matrix_status="linked", matrix_error=None)
    assert (await harness.call("GET", f"/directory/room/{quote(alias)}"))["room_id"] == room


async def test_removed_bot_rejoins_or_reports_advice(harness_10: RoomLifeHarness) -> None:
    harness = harness_10
    room = await harness.open("kicked")
    await harness.give_power(room, ALICE, 100)
    levels = await harness.state(room, "m.room.power_levels")
    await harness.set_state(room, "m.room.power_levels", levels | {"users": {ALICE: 100, BOT: 50}}, bot=True)
    shown = await harness.wait_for_room("kicked", matrix_status="linked")
    await eventually(lambda: demoted(harness))

    path = f"/rooms/{quote(room)}"
    await harness.call("POST", f"{path}/kick", {"user_id": BOT, "reason": "away"})

    async def is_back() -> bool:
        return BOT in (await harness.call("GET", f"{path}/joined_members"))["joined"]

    await eventually(is_back)

    await harness.call("POST", f"{path}/ban", {"user_id": BOT, "reason": "for good"})
    shown = await harness.wait_for_room("kicked", matrix_status="failed")
    assert BOT in shown["matrix_error"]
    assert "ban" in shown["matrix_error"]
    assert shown["matrix_room_id"] == room
    for body in ("one", "two", "three"):
        await harness.post("kicked", body)
    messages = await harness.city.get("/city/rooms/kicked/messages")
    assert {message["delivery"] for message in messages} == {"pending"}

    await harness.call("POST", f"{path}/unban", {"user_id": BOT})
    levels = (await harness.call("GET", f"{path}/state/m.room.power_levels/")) | {"users": {ALICE: 100, BOT: 100}}
    await harness.set_state(room, "m.room.power_levels", levels)
    await harness.wait_for_room("kicked", matrix_status="linked", matrix_error=None)

    async def went_out() -> bool:
        bodies = [
            body for body in await harness.matrix_bodies(room) if BOT not in body
        ]  # but for its notice on its power
        return bodies == ["one", "two", "three"]

    await eventually(went_out)

    # By invitation only, it waits for one.
    await harness.set_state(room, "m.room.power_levels", levels | {"users": {ALICE: 100, BOT: 50}}, bot=True)
    await harness.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
    await harness.call("POST", f"{path}/kick", {"user_id": BOT})
    await harness.wait_for_room("kicked", matrix_status="failed")
    await harness.call("POST", f"{path}/invite", {"user_id": BOT})
    await harness.wait_for_room("kicked", matrix_status="linked")


async def demoted(harness: RoomLifeHarness) -> bool:
    return f"{BOT} has power level 50" in ((await harness.room("kicked"))["matrix_error"] or "")


async def test_encrypted_room_is_reported_and_not_sent_to(harness: RoomLifeHarness) -> None:
    room = await harness.open("secret")
    await harness.post("secret", "in the open")
    await harness.expect_messages("secret", "in the open")
    await harness.give_power(room, ALICE, 100)
    await harness.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    shown = await harness.wait_for_room("secret", encrypted=True, matrix_status="failed")
    assert "encrypted" in shown["matrix_error"]

    async def is_logged() -> bool:
        lines = harness.city.service.last_lines(100)
        return any("room_reconcile_failed" in line and "encrypted" in line for line in lines)

    await eventually(is_logged)

    status, problem = await harness.city.call("POST", "/city/rooms/secret/messages", {"body": "plain"}, token=OKSANA)
    assert (status, problem["code"]) == (409, "room_encrypted")
    cipher = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "…"}
    await harness.call("PUT", f"/rooms/{quote(room)}/send/m.room.encrypted/1", cipher)
    await harness.expect_messages("secret", "in the open")


async def test_redacted_name_topic_and_profile_disappear(harness: RoomLifeHarness) -> None:
    room = await harness.open("redacted")
    await harness.give_power(room, ALICE, 50)
    await harness.set_state(room, "m.room.topic", {"topic": "rude"})
    await harness.set_state(room, "m.room.name", {"name": "Rude"})
    profile = f"/rooms/{quote(room)}/state/m.room.member/{quote(ALICE)}"
    await harness.call("PUT", profile, {"membership": "join", "displayname": "Rude"})
    await harness.wait_for_room("redacted", name="Rude", description="rude")

    database = Database(harness.city.database_url)

    async def is_named_rudely() -> bool:
        async with database.read_only() as tx:
            member = await tx.members.get(RoomId("city_redacted"), UserId(ALICE))
        return member is not None and member.display_name == "Rude"

    await eventually(is_named_rudely)
    types = ("m.room.name", "m.room.topic", "m.room.member")
    for event in [event for each in types for event in await harness.events(room, each)]:
        if event["sender"] == ALICE:
            await harness.call("PUT", f"/rooms/{quote(room)}/redact/{quote(event['event_id'])}/{event['event_id']}", {})
    await harness.wait_for_room("redacted", name="redacted", description="")

    async def has_no_name() -> bool:
        return not await is_named_rudely()

    await eventually(has_no_name)
    await database.close()
