"""What one member of an encrypted chat can do: to the service, to other chats, and to other members."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.types import EventId, MatrixRoomId, Room, UserId
from daarion_appservice.encryption import key_requests, outbound_sessions
from daarion_appservice.encryption.outbound_sessions import RotationPolicy
from daarion_appservice.encryption.primitives import MegolmSender
from daarion_appservice.matrix.encryption import room_decryptor, rotation_limit
from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_harness import GUIDE, SCRIBE, EncryptionHarness, Ghost
from tests.parts.encryption_peer import KEY, ROOM, Peer
from tests.parts.encryption_rows import undecrypted_row

MALLORY = "@mallory:city.localhost"
DEEP, LEVELS = "nested deeply", 1000


@pytest.fixture(autouse=True)
def deep_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the value `DEEP` stand for objects in each other, more than any encoder writes and orjson still reads."""

    def encode(content: Any) -> bytes:
        deep = b'{"m.new_content":' * LEVELS + b"1" + b"}" * LEVELS
        return orjson.dumps(content).replace(f'"{DEEP}"'.encode(), deep)

    monkeypatch.setattr(outbound_sessions, "encode_json", encode)


HOSTILE = {
    "nested edits": {"msgtype": "m.text", "body": "x"} | {"m.new_content": DEEP},
    "nested": {"msgtype": "m.text", "body": "x", "info": {"x": [DEEP]}},
    "nested mentions": {"msgtype": "m.text", "body": "x", "m.mentions": DEEP},
    "NUL": {"msgtype": "m.text", "body": "a\0b", "url": "mxc://a/\0", "info": {"w": 1e308, "h": -1}},
    "file": {"msgtype": "m.image", "body": "a", "file": {"v": "v2", "url": "mxc://a/b", "key": 1}},
    "edit": {"msgtype": "m.text", "body": "a", "m.relates_to": {"rel_type": "m.replace", "event_id": "\0" * 9000}},
    "numbers": {"msgtype": "m.location", "body": 1e300, "geo_uri": [1e300], "info": {"size": 10**18}},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_content_that_waited_delays_no_other(harness: EncryptionHarness, content: dict[str, Any]) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    hostile = harness.encrypt(content=content)
    later = harness.encrypt("later")
    key = harness.hold_keys()
    await harness.receive(hostile)
    await harness.receive(later)
    harness.release_keys(key)

    await harness.retry(after_ms=2_000)
    await harness.retry(after_ms=2_000)

    assert "later" in await harness.bodies()
    assert await harness.waiting() == []


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_content_never_fails_its_batch(harness: EncryptionHarness, content: dict[str, Any]) -> None:
    await harness.parts.devices.ensure(SCRIBE)

    await harness.receive(harness.encrypt(content=content), harness.encrypt("later"))

    assert "later" in await harness.bodies()
    assert await harness.waiting() == []


async def test_an_event_that_fails_stops_no_other(harness: EncryptionHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    broken, later = harness.encrypt("broken"), harness.encrypt("later")
    key = harness.hold_keys()
    await harness.receive(broken, later)
    harness.release_keys(key)
    handle = harness.run.handlers.handle_decrypted

    async def fail(tx: Transaction, chat: Room, event: dict[str, Any], **more: Any) -> list[CityEvent]:
        if event["event_id"] == broken["event_id"]:
            raise RuntimeError("too much")
        return await handle(tx, chat, event, **more)

    monkeypatch.setattr(harness.run.handlers, "handle_decrypted", fail)
    await harness.retry(after_ms=2_000)

    assert await harness.bodies() == ["later"]
    monkeypatch.undo()
    await harness.retry(after_ms=5_000)
    assert await harness.bodies() == ["broken", "later"]


def claim_session_of_alice(harness: EncryptionHarness) -> None:
    """Send the key of Alice's session to the agent as another member, who got it too."""
    mallory = Peer(harness.homeserver.keys, MALLORY, "LAPTOP")
    outbound = harness.alice.store.outbound
    assert outbound is not None
    (device,) = mallory.members_devices([Ghost(SCRIBE)])
    mallory.claim((device,))
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": outbound.session_id,
        "session_key": MegolmSender.from_pickle(outbound.pickle, KEY).session_key,
    }
    mallory.send_olm(device, "m.room_key", content)


async def test_a_key_of_another_member_hides_no_message(harness: EncryptionHarness) -> None:
    """A member who got the key of another's session sends it to the agent as his own, before the owner's key comes."""
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question")
    key = harness.hold_keys()
    claim_session_of_alice(harness)
    await harness.receive(question)
    harness.release_keys(key)

    await harness.retry(after_ms=2_000)

    assert await harness.bodies() == ["question"]


async def test_requests_to_one_user_leave_others_theirs(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    mallory = Peer(harness.homeserver.keys, MALLORY, "LAPTOP")
    mallory.policy = RotationPolicy(max_messages=1)
    garbage = [mallory.send("x", [Ghost(SCRIBE)], is_key_lost=True) for _ in range(key_requests.MAX_OPEN_REQUESTS + 1)]
    question = harness.encrypt("question", is_key_lost=True)
    await harness.receive(*garbage, question)

    await harness.retry(after_ms=2_000)
    await harness.retry(after_ms=5_000)

    asked = [list(request.content["messages"]) for request in harness.homeserver.all("to_device")]
    assert asked.count([MALLORY]) == key_requests.MAX_OPEN_REQUESTS
    assert asked.count([harness.alice.user]) == 1


async def test_a_key_of_another_member_ends_no_request(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question", is_key_lost=True)
    await harness.receive(question)
    await harness.retry(after_ms=2_000)
    await harness.retry(after_ms=5_000)
    claim_session_of_alice(harness)
    harness.alice.receive_all()

    await harness.retry(after_ms=16_000)

    assert await harness.bodies() == ["question"]


async def test_waiting_events_of_one_user_are_limited(
    on_each: EncryptionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_decryptor, "MAX_WAITING", 3)
    await on_each.parts.devices.ensure(SCRIBE)
    mallory = Peer(on_each.homeserver.keys, MALLORY, "LAPTOP")
    garbage = [mallory.send("x", [Ghost(SCRIBE)], is_key_lost=True) for _ in range(5)]

    await on_each.receive(*garbage, on_each.encrypt("question", is_key_lost=True))

    assert [row.sender for row in await on_each.waiting()] == [MALLORY] * 3 + [on_each.alice.user]
    assert on_each.run.count("events_given_up", reason="no_key") == 2


async def test_a_flood_of_verifications_is_not_answered(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    flood = [
        {
            "type": "m.key.verification.request",
            "sender": MALLORY,
            "content": {"transaction_id": f"{number}", "from_device": "X", "methods": ["m.sas.v1"]},
        }
        for number in range(150)
    ]
    harness.release_keys(flood)

    await harness.parts.chats.pull_ghost(SCRIBE)

    assert len(harness.homeserver.all("to_device")) == 20


async def test_a_busy_agent_delays_no_other(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    await harness.parts.devices.ensure(GUIDE)
    chats = harness.parts.chats

    async with chats._locks.of(SCRIBE):
        waiting = [asyncio.create_task(chats.pull_ghost(SCRIBE)) for _ in range(5)]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await chats.pull_ghost(GUIDE)
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_lists_are_queried_again_after_a_check(harness: EncryptionHarness) -> None:
    await harness.send()
    await harness.parts.service._step()
    laptop = Peer(harness.homeserver.keys, harness.alice.user, "LAPTOP", cross_signed=False)

    event = await harness.send("for both")

    assert harness.read(event, laptop) == "for both"


async def test_a_clear_edit_changes_no_encrypted_message(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    message = harness.encrypt("mine")
    await harness.receive(message)
    edit = {"rel_type": "m.replace", "event_id": message["event_id"]}
    new = {"msgtype": "m.text", "body": "forged"}

    await harness.receive_clear("m.room.message", new | {"m.new_content": new, "m.relates_to": edit})
    assert await harness.bodies() == ["mine"]

    await harness.receive(
        harness.encrypt(
            content={"msgtype": "m.text", "body": "* my", "m.new_content": new | {"body": "my"}, "m.relates_to": edit}
        )
    )
    assert await harness.bodies() == ["my"]


async def test_waiting_events_of_user_are_limited_over_rooms(
    on_each: EncryptionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_decryptor, "MAX_WAITING_OF_SENDER", 3)
    await on_each.parts.devices.ensure(SCRIBE)
    mallory = Peer(on_each.homeserver.keys, MALLORY, "LAPTOP")
    elsewhere = replace(undecrypted_row(), room=MatrixRoomId("!other:city.localhost"), sender=UserId(MALLORY))
    async with on_each.database.transaction() as tx:
        for number in range(2):
            await tx.undecrypted.add(replace(elsewhere, event_id=EventId(f"$elsewhere{number}")))
    garbage = [mallory.send("x", [Ghost(SCRIBE)], is_key_lost=True) for _ in range(3)]

    await on_each.receive(*garbage, on_each.encrypt("question", is_key_lost=True))

    assert [row.sender for row in await on_each.waiting()] == [MALLORY, on_each.alice.user]


async def test_undecryptable_events_are_logged_once_a_minute(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    with capture_logs() as logs:
        for number in range(5):
            await harness.receive_clear("m.room.encrypted", {"algorithm": "m.none"}, event_id=f"$bad{number}")
    logged = [event for event in logs if event["event"] == "event_undecryptable"]
    assert [event["event_id"] for event in logged] == ["$bad0"]
    assert harness.run.count("events_given_up", reason="invalid") == 5


async def test_new_sessions_by_dummies_of_user_are_limited(harness: EncryptionHarness) -> None:
    sessions = []
    for number in range(rotation_limit.MAX_IN_HOUR + 3):
        sent = await harness.send(f"message {number}")
        sessions.append(sent["content"]["session_id"])
        (device,) = harness.alice.members_devices([harness.ghost()])
        harness.alice.claim((device,))
        harness.alice.send_olm(device, "m.dummy", {})
    assert len(set(sessions)) == rotation_limit.MAX_IN_HOUR + 1
    harness.clock.now_ms += 3_600_001
    harness.alice.now_ms = harness.clock.now_ms
    (device,) = harness.alice.members_devices([harness.ghost()])
    harness.alice.claim((device,))
    harness.alice.send_olm(device, "m.dummy", {})
    assert (await harness.send("later"))["content"]["session_id"] not in sessions
