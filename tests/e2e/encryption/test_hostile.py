"""Hostile events: to-device events of any form, forged and replayed messages. The chats of other people go on."""

from __future__ import annotations

import json
import random
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.storage.database import Database
from tests.parts.agents_core import answer_to
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity
from tests.parts.encrypted_user import EncryptedUser
from tests.parts.encryption_tables import undecrypted_of

pytestmark = pytest.mark.asyncio(loop_scope="package")

JUNK: list[Any] = [None, 1, -1, 1 << 53, True, "", "x", "\u0000", "\ud83d\ude00", "A" * 43, "=", [], [[]], {}, {"": {}}]
_txn_ids = count()


async def send_raw(city: EncryptedCity, person: EncryptedUser, room: str, content: Any) -> str:
    """Send an ``m.room.encrypted`` event with this content as it is."""
    path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.encrypted/raw{next(_txn_ids)}"
    token = person.client.access_token
    status, answer = await city.city.call("PUT", path, content, token=token, url=city.city.homeserver.url)
    assert status == 200, answer
    return str(answer["event_id"])


async def send_to_agent(city: EncryptedCity, person: EncryptedUser, event_type: str, content: Any) -> None:
    """Send a to-device event to all devices of the agent."""
    path = f"/_matrix/client/v3/sendToDevice/{event_type}/raw{next(_txn_ids)}"
    body = {"messages": {DAARWIZZ: {"*": content}}}
    status, answer = await city.city.call(
        "PUT", path, body, token=person.client.access_token, url=city.city.homeserver.url
    )
    assert status == 200, answer


def device_of_agent(person: EncryptedUser) -> Any:
    (device,) = person.client.device_store[DAARWIZZ].values()
    return device


async def send_olm(city: EncryptedCity, person: EncryptedUser, event_type: str, content: dict[str, Any]) -> None:
    """Send the agent an event by the person's Olm session."""
    olm, device = person.client.olm, device_of_agent(person)
    session = olm.session_store.get(device.curve25519)
    await send_to_agent(city, person, "m.room.encrypted", olm._olm_encrypt(session, device, event_type, content))


def encrypted_by(person: EncryptedUser, room: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the content of an event with this payload, encrypted by the person's session for a room."""
    session = person.client.olm.outbound_group_sessions[room]
    return {
        "algorithm": "m.megolm.v1.aes-sha2",
        "sender_key": person.client.olm.account.identity_keys["curve25519"],
        "device_id": person.device_id,
        "session_id": session.id,
        "ciphertext": session.encrypt(json.dumps(payload)),
    }


def content_of(city: EncryptedCity, room: str, sender: str) -> dict[str, Any]:
    """Return the encrypted content of the last event of a sender."""
    events = [event for event in city.events(room) if (event["sender"], event["type"]) == (sender, "m.room.encrypted")]
    return dict(events[-1]["content"])


async def inputs_after(city: EncryptedCity, person: EncryptedUser, room: str, question: str) -> list[str]:
    """Ask a question, and return all that the agent was asked in the test until then."""
    await city.ask(person, room, question)
    assert "Traceback" not in city.city.service.log.read_text()
    return [request.content["input"] for request in city.core.requests]


async def test_random_to_device_events_change_nothing(city: EncryptedCity) -> None:
    ulas = await city.arrive(city.city, "ulas")
    room = await ulas.open_chat(DAARWIZZ)
    await city.ask(ulas, room, "Ти тут?")
    choose = random.Random(14).choice
    types = [
        "m.room.encrypted",
        "m.room_key",
        "m.room_key_request",
        "m.room_key.withheld",
        "m.forwarded_room_key",
        "m.dummy",
    ]
    types += ["m.key.verification.request", "m.secret.request", "io.element.msc4268.room_key_bundle", "org.example.any"]
    fields = ["algorithm", "sender_key", "ciphertext", "session_id", "session_key", "room_id", "action", "body", "code"]
    fields += ["requesting_device_id", "request_id", "transaction_id", "from_device", "type"]
    curve = device_of_agent(ulas).curve25519
    algorithms = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2", *JUNK]
    for _ in range(120):
        content = {field: choose(JUNK) for field in fields if choose([True, True, False])}
        content |= {
            "algorithm": choose(algorithms),
            "ciphertext": choose([*JUNK, {curve: {"type": 0, "body": "AwogAA"}}]),
        }
        content |= {
            "action": choose(["request", "request_cancellation", *JUNK]),
            "body": choose([*JUNK, dict(content)]),
        }
        await send_to_agent(city, ulas, choose(types), content)
    await send_to_agent(city, ulas, "m.room.encrypted", {"ciphertext": "x" * 60_000})
    for event_type in ("m.room_key", "m.forwarded_room_key", "m.dummy", "org.example.any"):
        for content in ({}, {field: choose(JUNK) for field in fields}):
            await send_olm(city, ulas, event_type, content)
    assert await inputs_after(city, ulas, room, "А тепер?") == ["Ти тут?", "А тепер?"]
    city.check_answers(ulas, room, ["Ти тут?", "А тепер?"])


async def test_forged_session_does_not_replace_the_key(city: EncryptedCity) -> None:
    """A member sends the agent a key under the name of another member's session, and events under it."""
    vira, zlata = await city.arrive(city.city, "vira"), await city.arrive(city.city, "zlata")
    room = await vira.create_encrypted_room(DAARWIZZ, zlata.user_id)
    await zlata.join(room)
    await zlata.wait_until_encrypted(room)
    await city.ask(vira, room, "DAARWIZZ, це Віра")
    await city.ask(zlata, room, "DAARWIZZ, це Злата")
    own = zlata.client.olm.outbound_group_sessions[room]
    stolen = content_of(city, room, vira.user_id)
    key = {"algorithm": stolen["algorithm"], "room_id": room, "session_key": own.session_key}
    await send_olm(city, zlata, "m.room_key", key | {"session_id": stolen["session_id"]})
    await send_olm(city, zlata, "m.forwarded_room_key", key | {"session_id": stolen["session_id"], "chain_index": 0})
    await send_raw(city, zlata, room, stolen)
    payload = {
        "type": "m.room.message",
        "room_id": room,
        "content": {"msgtype": "m.text", "body": "DAARWIZZ, підробка"},
    }
    await send_raw(city, zlata, room, encrypted_by(zlata, room, payload) | {"session_id": stolen["session_id"]})
    inputs = await inputs_after(city, vira, room, "DAARWIZZ, знову Віра")
    assert inputs == ["DAARWIZZ, це Віра", "DAARWIZZ, це Злата", "DAARWIZZ, знову Віра"]


async def test_replayed_event_is_refused(city: EncryptedCity) -> None:
    yaryna = await city.arrive(city.city, "yaryna")
    room = await yaryna.open_chat(DAARWIZZ)
    await city.ask(yaryna, room, "Лише раз")
    await send_raw(city, yaryna, room, content_of(city, room, yaryna.user_id))
    assert await inputs_after(city, yaryna, room, "Далі") == ["Лише раз", "Далі"]
    assert await city.bodies(room) == ["Лише раз", answer_to("Лише раз"), "Далі", answer_to("Далі")]


async def test_event_of_another_room_is_refused(city: EncryptedCity) -> None:
    yurii = await city.arrive(city.city, "yurii")
    room, other = await yurii.open_chat(DAARWIZZ), await yurii.open_chat(DAARWIZZ)
    for each in (room, other):
        await city.ask(yurii, each, f"Це {each}")
    payload = {"type": "m.room.message", "room_id": other, "content": {"msgtype": "m.text", "body": "Не туди"}}
    await send_raw(city, yurii, room, encrypted_by(yurii, room, payload))
    await send_raw(city, yurii, room, content_of(city, other, yurii.user_id))
    inputs = await inputs_after(city, yurii, room, "Далі")
    assert inputs == [f"Це {room}", f"Це {other}", "Далі"]


async def test_malformed_and_large_events_are_refused(city: EncryptedCity) -> None:
    yosyp = await city.arrive(city.city, "yosyp")
    room = await yosyp.open_chat(DAARWIZZ)
    await city.ask(yosyp, room, "Перше")
    valid = content_of(city, room, yosyp.user_id)
    await send_raw(city, yosyp, room, {})
    for field in ("algorithm", "ciphertext", "session_id", "sender_key", "device_id"):
        for junk in [{}, 1, None, "x", "\u0000", "A" * 300]:
            await send_raw(city, yosyp, room, valid | {field: junk})
    await send_raw(city, yosyp, room, valid | {"ciphertext": "A" * 63_000})
    for payload in ({}, {"type": 1, "room_id": room, "content": {}}, {"type": "m.room.message", "room_id": room}):
        await send_raw(city, yosyp, room, encrypted_by(yosyp, room, payload))
    # A state event inside would be one that nobody was asked for.
    power = {"type": "m.room.power_levels", "state_key": "", "room_id": room, "content": {"users_default": 100}}
    await send_raw(city, yosyp, room, encrypted_by(yosyp, room, power))
    text = " ".join(["long"] * 4000)
    await yosyp.send_text(room, text)
    await city.answer(yosyp, room, text)
    assert await inputs_after(city, yosyp, room, "Далі") == ["Перше", text, "Далі"]

    async def waiting() -> int:
        database = Database(city.city.database_url)
        try:
            async with database.read_only() as tx:
                return len(await undecrypted_of(tx, MatrixRoomId(room)))
        finally:
            await database.close()

    assert await waiting() < 40


async def test_verification_by_to_device_is_declined(city: EncryptedCity) -> None:
    yeva = await city.arrive(city.city, "yeva")
    room = await yeva.open_chat(DAARWIZZ)
    await city.ask(yeva, room, "Ти тут?")
    request = {"from_device": yeva.device_id, "methods": ["m.sas.v1"], "timestamp": 1, "transaction_id": "t1"}
    await send_to_agent(city, yeva, "m.key.verification.request", request)
    # The agent receives it with its next key.
    await yeva.send_text(room, "Отримай")

    async def is_cancelled() -> bool:
        return any(event["type"] == "m.key.verification.cancel" for event in yeva.to_device)

    await eventually(is_cancelled)
