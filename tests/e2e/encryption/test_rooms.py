"""Encrypted rooms with several people and agents: who reads what, and that nothing is ever said in clear."""

from __future__ import annotations

import asyncio

import pytest

from tests.parts.agents_core import answer_to, says
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, SCRIBE, EncryptedCity
from tests.parts.encrypted_user import ENCRYPTION, EncryptedUser, arrive_many

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def has_joined(person: EncryptedUser, room: str, *agents: str) -> None:
    for agent in agents:
        await person.wait_for_event(
            lambda event, agent=agent: (  # type: ignore[misc]
                (event["room_id"], event.get("state_key")) == (room, agent)
                and event["content"].get("membership") == "join"
            )
        )


async def test_two_agents_answer_in_one_room(city: EncryptedCity) -> None:
    roman = await city.arrive(city.city, "roman")
    room = await roman.create_encrypted_room(DAARWIZZ, SCRIBE)
    await has_joined(roman, room, DAARWIZZ, SCRIBE)
    await roman.send_text(room, "Усім привіт")
    for question, agent in (("@scribe, ти хто?", SCRIBE), ("@daarwizz, а ти?", DAARWIZZ)):
        assert (await city.ask(roman, room, question))["sender"] == agent
    # One agent asks the other.
    city.core.next(says("@scribe, глянь"), says("глянув"))
    await roman.send_text(room, "@daarwizz, хай писар гляне")
    assert (await roman.wait_for_text("глянув"))["sender"] == SCRIBE
    assert await city.bodies(room) == [
        "Усім привіт",
        "@scribe, ти хто?",
        answer_to("@scribe, ти хто?"),
        "@daarwizz, а ти?",
        answer_to("@daarwizz, а ти?"),
        "@daarwizz, хай писар гляне",
        "@scribe, глянь",
        "глянув",
    ]
    city.check_encrypted(room, texts=["глянув", "Усім привіт"])


async def test_key_of_a_person_who_left_is_replaced(city: EncryptedCity) -> None:
    rita, rada = await city.arrive(city.city, "rita"), await city.arrive(city.city, "rada")
    room = await rita.create_encrypted_room(DAARWIZZ, rada.user_id)
    await rada.join(room)
    await rada.wait_until_encrypted(room)
    await has_joined(rita, room, DAARWIZZ)
    await city.ask(rita, room, "DAARWIZZ, хто тут?")
    await city.answer(rada, room, "DAARWIZZ, хто тут?")
    before = {event["content"]["session_id"] for event in city.check_encrypted(room)}
    await rada.client.room_leave(room)
    await rita.wait_for_event(lambda event: event.get("state_key") == rada.user_id and event["sender"] == rada.user_id)
    await city.ask(rita, room, "А тепер?")
    after = {event["content"]["session_id"] for event in city.check_encrypted(room)} - before
    assert len(after) == 1
    keys = [event["content"]["session_id"] for event in rada.to_device if event["type"] == "m.room_key"]
    assert not after & set(keys)

    # Back again on a device that was made meanwhile, and that no device list announced.
    other = await rada.another_device()
    try:
        await rita.client.room_invite(room, rada.user_id)
        await other.join(room)
        await other.wait_until_encrypted(room)
        await city.ask(other, room, "DAARWIZZ, я знову тут?")
        await city.answer(rita, room, "DAARWIZZ, я знову тут?")
    finally:
        await other.leave()
    city.check_encrypted(room)


async def test_room_encrypted_later_is_never_clear_again(city: EncryptedCity) -> None:
    rustam = await city.arrive(city.city, "rustam")
    answer = await rustam.client.room_create(is_direct=True, invite=[DAARWIZZ])
    room = answer.room_id
    await has_joined(rustam, room, DAARWIZZ)
    await rustam.send_text(room, "Відкрито")
    assert not (await rustam.wait_for_text(answer_to("Відкрито")))["encrypted"]
    await rustam.client.room_put_state(room, ENCRYPTION["type"], ENCRYPTION["content"])
    await rustam.wait_until_encrypted(room)
    await city.ask(rustam, room, "Таємно")
    # Other content of the state event decrypts no room.
    await rustam.client.room_put_state(room, ENCRYPTION["type"], {})
    await city.ask(rustam, room, "Досі таємно")
    # Nor does a restart, nor a message of another client in clear.
    await city.city.service.stop()
    await city.start()
    path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/clear"
    token = rustam.client.access_token
    content = {"msgtype": "m.text", "body": "Хіба?"}
    status, _ = await city.city.call("PUT", path, content, token=token, url=city.city.homeserver.url)
    assert status == 200
    await city.answer(rustam, room, "Хіба?")
    city.check_encrypted(room, texts=["Таємно", answer_to("Таємно"), answer_to("Досі таємно"), answer_to("Хіба?")])


async def test_history_is_shared_with_the_invited_agent(city: EncryptedCity) -> None:
    """The bundle of Element's engine (MSC4268) has the key of what was said between the invitation and the join, too."""
    orest = await city.arrive_by_js_sdk(city.city, "orest", encryption=True)
    room = await orest.create_room(encrypted=True)
    await orest.say(room, "Сам із собою")
    await orest.invite(room, DAARWIZZ)
    await city.ask_by_js_sdk(orest, room, "Чи чути?")
    city.check_encrypted(room, texts=["Чи чути?"])
    assert (await city.bodies(room))[-2:] == ["Чи чути?", answer_to("Чи чути?")]


async def claim_keys(person: EncryptedUser, city: EncryptedCity, agent: str, *, left: int) -> None:
    """Claim one-time keys of an agent without using them, until the homeserver has ``left``."""
    count = "SELECT count(*) FROM e2e_one_time_keys_json WHERE user_id = ?"
    device = city.homeserver_rows("SELECT device_id FROM e2e_device_keys_json WHERE user_id = ?", agent)[0][0]
    wanted = {"one_time_keys": {agent: {device: "signed_curve25519"}}}
    for _ in range(city.homeserver_rows(count, agent)[0][0] - left):
        status, _ = await city.city.call(
            "POST",
            "/_matrix/client/v3/keys/claim",
            wanted,
            token=person.client.access_token,
            url=city.city.homeserver.url,
        )
        assert status == 200
    assert city.homeserver_rows(count, agent) == [(left,)]


@pytest.mark.parametrize(
    ("people", "left"), [pytest.param(4, 2, id="4"), pytest.param(60, 50, id="60", marks=pytest.mark.soak)]
)
async def test_people_without_one_time_keys_are_answered(city: EncryptedCity, people: int, left: int) -> None:
    """The first of them use up the one-time keys, and the others get the fallback key."""
    members = await arrive_many(city.arrive, city.city, "p", people)
    city.city.service.kill()
    await claim_keys(members[0], city, SCRIBE, left=left)

    async def open_and_ask(person: EncryptedUser) -> str:
        room = await person.open_chat(SCRIBE)
        await person.send_text(room, f"Я {person.user_id}")
        return room

    rooms = [
        room
        for first in range(0, people, 8)
        for room in await asyncio.gather(*map(open_and_ask, members[first : first + 8]))
    ]
    left_keys = city.homeserver_rows("SELECT count(*) FROM e2e_one_time_keys_json WHERE user_id = ?", SCRIBE)
    used = city.homeserver_rows("SELECT used FROM e2e_fallback_keys_json WHERE user_id = ?", SCRIBE)
    assert (left_keys, [bool(flag) for (flag,) in used]) == ([(0,)], [True])
    await city.start()
    for person, room in zip(members, rooms, strict=True):
        await city.answer(person, room, f"Я {person.user_id}")
        city.check_answers(person, room, [f"Я {person.user_id}"])
        city.check_encrypted(room, texts=[answer_to(f"Я {person.user_id}")])
    assert sorted(request.content["input"] for request in city.core.requests) == sorted(
        f"Я {person.user_id}" for person in members
    )

    async def has_new_keys() -> bool:
        (count,) = city.homeserver_rows("SELECT count(*) FROM e2e_one_time_keys_json WHERE user_id = ?", SCRIBE)[0]
        return bool(count >= 50)

    await eventually(has_new_keys)
