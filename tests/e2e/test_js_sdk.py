"""A person in a client built on matrix-js-sdk, as Element is, and the city."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.parts.agents_core import ScriptedCore, says
from tests.parts.city import RunningCity, citizen_token, eventually, shared_city
from tests.parts.js_client import PASSWORD, ArriveByJsSdk, arriving_by_js_sdk

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERAL = "#city_general:city.localhost"
DAARWIZZ = "@agent_daarwizz:city.localhost"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core() -> AsyncIterator[ScriptedCore]:
    core = ScriptedCore()
    async with core.serving():
        yield core


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(core: ScriptedCore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    async with shared_city(tmp_path_factory.mktemp("city"), settings={"agents_core.url": core.url}) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def arrive() -> AsyncIterator[ArriveByJsSdk]:
    async with arriving_by_js_sdk() as arrive:
        yield arrive


async def test_messages_go_both_ways(city: RunningCity, arrive: ArriveByJsSdk) -> None:
    alice = await arrive(city, "alice")
    general = await alice.join(GENERAL)

    await alice.say(general, "Добрий день")

    async def is_shown() -> bool:
        return "Добрий день" in await city.bodies()

    await eventually(is_shown)
    iryna = citizen_token("u_1", "Ірина")
    await city.post("/city/rooms/general/messages", {"body": "Вітаю, Alice"}, token=iryna)
    seen = await alice.wait_for({"content": {"body": "Вітаю, Alice"}}, room_id=general)
    assert (seen["sender"], seen["sender_name"]) == ("@citizen_u_1:city.localhost", "Ірина")
    assert seen["event_id"] in {event["event_id"] for event in await alice.timeline(general)}


async def test_reply_is_a_reply_in_the_city(city: RunningCity, arrive: ArriveByJsSdk) -> None:
    bob = await arrive(city, "bob")
    general = await bob.join(GENERAL)
    asked = await city.post("/city/rooms/general/messages", {"body": "Хто тут?"}, token=citizen_token("u_2", "Тарас"))
    question = await bob.wait_for({"content": {"body": "Хто тут?"}}, room_id=general)

    await bob.send_reply(general, question["event_id"], "Я")

    async def replied_to() -> str | None:
        messages = await city.get("/city/rooms/general/messages?limit=50")
        return next((message["reply_to"] for message in messages if message["body"] == "Я"), None)

    assert await eventually(replied_to) == asked["id"]


async def test_agent_in_the_room_has_its_name(city: RunningCity, arrive: ArriveByJsSdk) -> None:
    carol = await arrive(city, "carol")
    general = await carol.join(GENERAL)
    member = (await carol.members(general))[DAARWIZZ]
    assert (member["membership"], member["name"]) == ("join", "DAARWIZZ")


async def test_agent_answers_in_a_direct_chat(city: RunningCity, core: ScriptedCore, arrive: ArriveByJsSdk) -> None:
    dora = await arrive(city, "dora")
    await city.post("/api/v1/agents/daarwizz/heartbeat", token=await city.agent_token("daarwizz"))
    core.next(says("Вітаю!"))

    room = await dora.create_room(direct_with=DAARWIZZ)
    await dora.say(room, "Привіт")

    answer = await dora.wait_for({"sender": DAARWIZZ, "content": {"body": "Вітаю!"}}, room_id=room)
    assert not answer["redacted"]
    assert await dora.account_data("m.direct") == {DAARWIZZ: [room]}


async def test_thread_is_complete_after_a_fresh_sync(city: RunningCity, arrive: ArriveByJsSdk) -> None:
    emil = await arrive(city, "emil")
    general = await emil.join(GENERAL)
    root = await emil.say(general, "Початок гілки")
    replies = [await emil.send_in_thread(general, root, f"Відповідь {number}") for number in range(2)]

    await emil.stop()
    await emil.login(password=PASSWORD)
    await emil.start()

    thread = await emil.thread(general, root)
    assert thread is not None
    assert [event["event_id"] for event in thread["events"]] == [root, *replies]
    assert thread["length"] == 2
    assert not {event["event_id"] for event in await emil.timeline(general)} & set(replies)


async def test_replies_of_city_and_agent_stay_in_thread(
    city: RunningCity, core: ScriptedCore, arrive: ArriveByJsSdk
) -> None:
    """After a fresh sync, as after a reload of Element: replies without the thread's relation would be shown nowhere."""
    greta, iryna = await arrive(city, "greta"), citizen_token("u_1", "Ірина")
    await city.post("/api/v1/agents/daarwizz/heartbeat", token=await city.agent_token("daarwizz"))
    general = await greta.join(GENERAL)
    root = await greta.say(general, "Хто піде в гори?")
    first = await greta.send_in_thread(general, root, "Я піду")
    core.next(says("Беру мотузку"))
    question = await greta.send_in_thread(general, root, "daarwizz: а ти?")
    answer = await greta.wait_for({"sender": DAARWIZZ, "content": {"body": "Беру мотузку"}}, room_id=general)

    async def root_in_city() -> dict[str, Any] | None:
        messages = await city.get("/city/rooms/general/messages?limit=50")
        return next((each for each in messages if each["matrix_event_id"] == root), None)

    async def is_counted() -> bool:
        shown = await root_in_city()
        return shown is not None and shown["thread"] is not None and shown["thread"]["count"] == 3

    await eventually(is_counted)
    shown = await root_in_city()
    assert shown is not None
    posted = {"body": "Візьміть і мене", "thread_root": shown["id"]}
    await city.post("/city/rooms/general/messages", posted, token=iryna)
    last = await greta.wait_for({"content": {"body": "Візьміть і мене"}}, room_id=general)

    await greta.stop()
    await greta.login(password=PASSWORD)
    await greta.start()

    thread = await greta.thread(general, root)
    assert thread is not None
    events = [event["event_id"] for event in thread["events"] if event["content"].get("m.new_content") is None]
    assert events == [root, first, question, answer["event_id"], last["event_id"]]
    assert thread["length"] == 4
    assert not {event["event_id"] for event in await greta.timeline(general)} & set(events[1:])
    listed = await city.get("/city/rooms/general/threads")
    assert listed[0]["matrix_event_id"] == root
    replies = await city.get(f"/city/rooms/general/threads/{shown['id']}")
    assert [each["body"] for each in replies] == ["Я піду", "daarwizz: а ти?", "Беру мотузку", "Візьміть і мене"]

    await city.call("PUT", "/city/rooms/general/read", {"message_id": replies[-1]["id"]}, token=iryna)

    async def is_read() -> bool:
        return await greta.read_up_to(general, "@citizen_u_1:city.localhost", root_id=root) == last["event_id"]

    await eventually(is_read)


async def test_encrypted_message_has_no_shield(city: RunningCity, arrive: ArriveByJsSdk) -> None:
    faina, hlib = await arrive(city, "faina", encryption=True), await arrive(city, "hlib", encryption=True)
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room = await faina.create_room({"invite": [hlib.user_id], "initial_state": [encryption]})

    async def is_invited() -> bool:
        return room in {invite["room_id"] for invite in await hlib.invites()}

    await eventually(is_invited)
    await hlib.join(room)

    async def is_member() -> bool:
        return (await faina.members(room))[hlib.user_id]["membership"] == "join"

    await eventually(is_member)
    await faina.say(room, "таємниця")

    seen = await hlib.wait_for({"content": {"body": "таємниця"}}, room_id=room)
    assert seen["encrypted"]
    assert await hlib.is_encrypted(room)
    assert await hlib.shield(room, seen["event_id"]) == {"colour": "NONE", "reason": None}
