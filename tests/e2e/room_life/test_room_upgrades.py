"""Room upgrades on Matrix: the city follows real ones, and ignores false ones."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.parts.city import eventually
from tests.parts.room_life import ALICE, BOT, MAYOR, OKSANA, RoomLifeHarness
from tests.parts.two_way_messages import waiting

pytestmark = pytest.mark.asyncio(loop_scope="package")

SCRIBE = "@agent_scribe:city.localhost"
OKSANAS_GHOST = "@citizen_u_1:city.localhost"


async def test_a_room_that_is_upgraded_is_followed(harness: RoomLifeHarness) -> None:
    old, space = await harness.open("moved"), await harness.space()
    await harness.post("moved", "one")
    await harness.alice.send_text(old, "two")
    await harness.expect_messages("moved", "one", "two")

    new = await harness.upgrade(old, "12", bot=True)
    await harness.post("moved", "three")
    room = await harness.wait_for_room("moved", matrix_room_id=new, matrix_status="linked", matrix_error=None)
    assert room["name"] == "Moved"
    await harness.alice.join(new)
    await harness.alice.send_text(new, "four")

    await harness.expect_messages("moved", "one", "two", "three", "four")

    async def is_sent() -> bool:
        messages = await harness.city.get("/city/rooms/moved/messages")
        return all(message["delivery"] == "sent" for message in messages)

    await eventually(is_sent, explain=lambda: "\n".join(harness.city.service.last_lines(30)))
    everywhere = [*await harness.matrix_bodies(old), *await harness.matrix_bodies(new)]
    assert sorted(everywhere) == ["four", "one", "three", "two"], "none lost, none twice"
    await harness.wait_for_members(new, BOT, SCRIBE, OKSANAS_GHOST, ALICE)

    async def has_alias() -> bool:
        path = f"/directory/room/{quote('#city_moved:city.localhost')}"
        return bool((await harness.call("GET", path))["room_id"] == new)

    await eventually(has_alias)

    async def is_the_child() -> bool:
        children = [await harness.state(space, "m.space.child", room) for room in (old, new)]
        return not children[0] and bool(children[1])

    await eventually(is_the_child)
    # A moderator still clears up in the old room.
    (message,) = [each for each in await harness.city.get("/city/rooms/moved/messages") if each["body"] == "two"]
    await harness.call("PUT", f"/rooms/{quote(old)}/redact/{quote(message['matrix_event_id'])}/clear", {}, bot=True)

    async def is_gone() -> bool:
        return "two" not in await harness.city.bodies("moved")

    await eventually(is_gone)


async def test_upgraded_room_has_earlier_messages_in_order(harness_10: RoomLifeHarness) -> None:
    harness = harness_10
    old = await harness.open("moved-by-alice")
    await harness.give_power(old, ALICE, 100)
    await harness.city.service.stop()
    await harness.alice.send_text(old, "last words")
    new = await harness.upgrade(old, "12")
    await harness.alice.join(new)
    sent = [f"word {number}" for number in range(5)]
    for body in sent:
        await harness.alice.send_text(new, body)
    await harness.set_state(new, "m.room.name", {"name": "Переїзд"})
    await harness.city.start()

    room = await harness.wait_for_room("moved-by-alice", matrix_room_id=new, matrix_status="linked", name="Переїзд")
    # Alice had 100 in the old room, and so had the bot: it has them in the new one.
    assert room["matrix_error"] is None
    await harness.alice.send_text(new, "after")

    await harness.expect_messages("moved-by-alice", "last words", *sent, "after")
    bodies = await harness.city.bodies("moved-by-alice")
    assert [body for body in bodies if body != "last words"] == [*sent, "after"]
    await harness.wait_for_members(new, BOT, SCRIBE, ALICE)


async def test_false_upgrade_changes_no_room(harness: RoomLifeHarness) -> None:
    room = await harness.open("trap")
    general = (await harness.room("general"))["matrix_room_id"]
    await harness.give_power(room, ALICE, 200 if harness.version == "12" else 100)
    trap = await harness.create(name="Пастка")
    forbidden = await harness.create(preset="private_chat")
    traps = {
        "$nonsense": "is not a room",
        "!nowhere:city.localhost": "may not join",
        forbidden: "may not join",
        trap: "does not say that it replaces",
        general: "is the city's room general",
    }
    for successor, reason in traps.items():
        await harness.set_state(room, "m.room.tombstone", {"body": "come", "replacement_room": successor})

        async def says_why(reason: str = reason) -> bool:
            shown = await harness.room("trap")
            return shown["matrix_status"] == "failed" and reason in shown["matrix_error"]

        await eventually(says_why, explain=lambda: "\n".join(harness.city.service.last_lines(20)))
        assert (await harness.room("trap"))["matrix_room_id"] == room
    assert BOT not in (await harness.call("GET", f"/rooms/{quote(trap)}/joined_members"))["joined"]
    assert (await harness.room("general"))["matrix_room_id"] == general
    listed = (await harness.city.command("room", "list")).out
    assert "failed" in listed

    await harness.post("trap", "waits")
    await harness.post("trap", "waits, too")
    await harness.set_state(room, "m.room.tombstone", {"replacement_room": "", "garbage": [None, 7]})
    await harness.wait_for_room("trap", matrix_status="linked", matrix_error=None)

    async def went_out() -> bool:
        return await harness.matrix_bodies(room) == ["waits", "waits, too"]

    await eventually(went_out)


async def test_changes_of_earlier_messages_go_to_the_old_room(harness: RoomLifeHarness) -> None:
    old = await harness.open("changed")
    for body in ("secret", "draft"):
        await harness.post("changed", body)
    await harness.alice.send_text(old, "rude")
    await harness.expect_messages("changed", "secret", "draft", "rude")
    messages = "/city/rooms/changed/messages"
    ids = {each["body"]: each["id"] for each in await harness.city.get(messages)}
    emoji = quote("👍")
    status, _ = await harness.city.call("PUT", f"{messages}/{ids['draft']}/reactions/{emoji}", token=OKSANA)
    assert status == 200

    async def wait_until_sent() -> None:
        async def is_sent() -> bool:
            return await waiting(harness.city) == ({}, [])

        await eventually(is_sent, explain=lambda: "\n".join(harness.city.service.last_lines(30)))

    await wait_until_sent()
    events = {each["body"]: each["matrix_event_id"] for each in await harness.city.get(messages)}
    (reaction,) = await harness.events(old, "m.reaction")
    new = await harness.upgrade(old, "12", bot=True)
    await harness.wait_for_room("changed", matrix_room_id=new, matrix_status="linked")

    for method, path, token in (
        ("DELETE", ids["secret"], OKSANA),
        ("DELETE", f"{ids['draft']}/reactions/{emoji}", OKSANA),
        ("DELETE", ids["rude"], MAYOR),
    ):
        status, answer = await harness.city.call(method, f"{messages}/{path}", token=token)
        assert status in {200, 204}, answer
    status, answer = await harness.city.call("PATCH", f"{messages}/{ids['draft']}", {"body": "final"}, token=OKSANA)
    assert status == 200, answer
    await wait_until_sent()
    for event_id in (events["secret"], events["rude"], reaction["event_id"]):
        event = await harness.call("GET", f"/rooms/{quote(old)}/event/{quote(event_id)}")
        assert event["content"] == {}, event
    # Members without power cannot write in a room that was upgraded, and an edit elsewhere is none.
    assert await harness.matrix_bodies(new) == []
    # Clients would show a message of a thread beside a root that they do not find.
    await harness.city.post(messages, {"body": "in the thread", "thread_root": ids["draft"]}, token=OKSANA)
    await wait_until_sent()
    (message,) = await harness.events(new, "m.room.message")
    assert (message["content"]["body"], "m.relates_to" in message["content"]) == ("in the thread", False)
