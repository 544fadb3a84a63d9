"""What one member of an encrypted chat can do: to the service, to other chats, and to other members."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.types import Room
from daarion_appservice.encryption import outbound_sessions
from daarion_appservice.encryption.primitives import MegolmSender
from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_harness import SCRIBE, EncryptionHarness, Ghost
from tests.parts.encryption_peer import KEY, ROOM, Peer

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


async def test_a_key_of_another_member_hides_no_message(harness: EncryptionHarness) -> None:
    """A member who got the key of another's session sends it to the agent as his own, before the owner's key comes."""
    await harness.parts.devices.ensure(SCRIBE)
    mallory = Peer(harness.homeserver.keys, "@mallory:city.localhost", "LAPTOP")
    harness.alice.members_devices([mallory])
    question = harness.encrypt("question")
    key = harness.hold_keys()
    assert harness.alice.store.outbound is not None
    mallory.members_devices([Ghost(SCRIBE)])
    mallory.claim(tuple(mallory.store.devices[SCRIBE].values()))
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": harness.alice.store.outbound.session_id,
        "session_key": MegolmSender.from_pickle(harness.alice.store.outbound.pickle, KEY).session_key,
    }
    mallory.send_olm(next(iter(mallory.store.devices[SCRIBE].values())), "m.room_key", content)
    await harness.receive(question)
    harness.release_keys(key)

    await harness.retry(after_ms=2_000)

    assert await harness.bodies() == ["question"]
