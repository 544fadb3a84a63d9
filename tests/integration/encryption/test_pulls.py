"""Pulls of to-device events: pages, lost answers, effects stored with the token, hostile events, and what follows."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from daarion_appservice.encryption.accounts import MEGOLM
from daarion_appservice.errors import HomeserverUnavailable
from tests.parts.city import eventually
from tests.parts.encryption_harness import ALICE, SCRIBE, EncryptionHarness, Ghost
from tests.parts.encryption_peer import ROOM, Peer
from tests.parts.key_homeserver import Address
from tests.parts.scripted_homeserver import HANG_UP, LOSE, ReceivedRequest, refused

CLASH = refused(400, "M_UNKNOWN", "One time key signed_curve25519:AAAAAQ already exists. Old key: …; new key: …")
HOSTILE: list[Any] = [
    None, True, 0, -1, 1.5, 2**63, 10**30, "", "text", "\0", "\ud800", [], [[]], [None], {}, {"a": []},
]  # fmt: skip
FIELDS = {
    "m.room.encrypted": ["algorithm", "sender_key", "ciphertext"],
    "m.room_key_request": ["action", "body", "request_id", "requesting_device_id"],
    "m.room_key.withheld": ["room_id", "session_id", "sender_key", "code", "reason"],
    "m.key.verification.request": ["transaction_id", "from_device"],
}


async def address_of(harness: EncryptionHarness) -> Address:
    """Return the address of the ghost's device, which is made."""
    await harness.parts.devices.ensure(SCRIBE)
    stored = await harness.account()
    assert stored is not None
    return SCRIBE, stored.account.device_id


async def pull(harness: EncryptionHarness) -> None:
    await harness.parts.chats.pull_ghost(SCRIBE)


def noise(number: int = 1) -> list[dict[str, Any]]:
    return [{"type": "m.noise", "sender": ALICE, "content": {"n": n}} for n in range(number)]


def valid(event_type: str) -> dict[str, Any]:
    """Return a well-formed content of each type of event that a ghost handles."""
    key = "A" * 43
    contents: dict[str, dict[str, Any]] = {
        "m.room.encrypted": {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": key, "ciphertext": {}},
        "m.room_key_request": {
            "action": "request",
            "body": {"algorithm": MEGOLM, "room_id": ROOM, "session_id": key},
            "request_id": "r",
            "requesting_device_id": "PHONE",
        },
        "m.room_key.withheld": {
            "algorithm": MEGOLM,
            "room_id": ROOM,
            "session_id": key,
            "sender_key": key,
            "code": "m.unverified",
            "reason": "no",
        },
        "m.key.verification.request": {"transaction_id": "t", "from_device": "PHONE", "methods": []},
    }
    return contents[event_type]


async def knows(harness: EncryptionHarness, event: dict[str, Any]) -> bool:
    name = (ROOM, event["content"]["session_id"])
    async with harness.database.read_only() as tx:
        return name in await tx.megolm_sessions.inbound_exists([name])


async def test_more_than_one_page_is_read(harness: EncryptionHarness) -> None:
    harness.homeserver.queue(await address_of(harness), *noise(250))
    event = harness.encrypt("behind them")

    await pull(harness)

    assert await knows(harness, event)
    assert [request.query.get("since") for request in harness.homeserver.all("sync")] == [None, "100", "200"]


async def test_a_pull_leaves_the_presence(harness: EncryptionHarness) -> None:
    await pull(harness)

    (request,) = harness.homeserver.all("sync")
    assert request.query["set_presence"] == "offline"
    assert request.query["timeout"] == "0"


async def test_the_key_behind_a_lost_answer_is_read(harness: EncryptionHarness) -> None:
    harness.homeserver.queue(await address_of(harness), *noise())
    harness.homeserver.break_off("sync", LOSE)
    with pytest.raises(HomeserverUnavailable):
        await pull(harness)
    event = harness.encrypt("came in between")

    await pull(harness)

    assert await knows(harness, event)


async def test_effects_are_stored_with_the_token(on_each: EncryptionHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await address_of(on_each)
    event = on_each.encrypt("once")
    with monkeypatch.context() as patch:

        async def fail(*_: object) -> None:
            raise HomeserverUnavailable("the process ends here")

        patch.setattr(on_each.parts.chats._reader._device_lists, "mark_changed", fail)
        with pytest.raises(HomeserverUnavailable):
            await pull(on_each)
    stored = await on_each.account()
    assert stored is not None
    assert stored.since is None
    assert not await knows(on_each, event)

    on_each.start()
    await on_each.receive(event)

    assert await on_each.bodies() == ["once"]


@pytest.mark.parametrize("event_type", FIELDS)
async def test_hostile_fields_end_no_pull(harness: EncryptionHarness, event_type: str) -> None:
    address = await address_of(harness)
    for name, value in itertools.product(FIELDS[event_type], HOSTILE):
        content = {**valid(event_type), name: value}
        harness.homeserver.queue(address, {"type": event_type, "sender": ALICE, "content": content})
    event = harness.encrypt("behind them")

    await pull(harness)

    assert await knows(harness, event)


@pytest.mark.parametrize("name", ["type", "sender", "content"])
async def test_hostile_events_end_no_pull(on_each: EncryptionHarness, name: str) -> None:
    address = await address_of(on_each)
    for event_type in FIELDS:
        for value in HOSTILE:
            event = {"type": event_type, "sender": ALICE, "content": valid(event_type)}
            on_each.homeserver.queue(address, {**event, name: value}, value)
    event = on_each.encrypt("behind them")

    await pull(on_each)

    assert await knows(on_each, event)


async def test_a_verification_request_is_declined(harness: EncryptionHarness) -> None:
    content = valid("m.key.verification.request")
    event = {"type": "m.key.verification.request", "sender": ALICE, "content": content}
    harness.homeserver.queue(await address_of(harness), event)

    await pull(harness)

    (cancel,) = harness.alice.take_queue()
    assert cancel["type"] == "m.key.verification.cancel"
    assert cancel["content"]["transaction_id"] == "t"
    assert cancel["content"]["code"] == "m.user"


async def test_used_one_time_keys_are_replaced(harness: EncryptionHarness) -> None:
    address = await address_of(harness)
    for number in range(60):
        peer = Peer(harness.homeserver.keys, f"@p{number}:city.localhost")
        peer.send("hello", [Ghost(SCRIBE)])
    assert not harness.homeserver.keys.one_time_keys[address]

    await pull(harness)

    assert len(harness.homeserver.keys.one_time_keys[address]) == 50


async def test_keys_whose_upload_was_lost_are_repeated(harness: EncryptionHarness) -> None:
    address = await address_of(harness)
    harness.homeserver.keys.one_time_keys[address].clear()
    harness.homeserver.next("upload_keys", LOSE)
    with pytest.raises(HomeserverUnavailable):
        await pull(harness)
    uploaded = dict(harness.homeserver.keys.one_time_keys[address])

    harness.homeserver.keys.one_time_keys[address].popitem()
    harness.start()
    await pull(harness)

    assert harness.homeserver.keys.one_time_keys[address] == uploaded


async def test_a_clash_at_the_replacement_makes_a_device(harness: EncryptionHarness) -> None:
    """The database was restored from an older copy: its one-time keys clash, and it cannot read what was sent since."""
    address = await address_of(harness)
    await harness.receive(harness.encrypt("before"))
    harness.read(await harness.send("before"))
    lost = Peer(harness.homeserver.keys, "@lost:city.localhost", "LAPTOP")
    lost.send("for keys that the database lost", [Ghost(SCRIBE)])
    broken = harness.homeserver.keys.queues[address][-1]
    for each in broken["content"]["ciphertext"].values():
        each["body"] = f"{each['body'][:-8]}AAAA{each['body'][-4:]}"
    harness.homeserver.keys.one_time_keys[address].clear()
    harness.homeserver.next("upload_keys", CLASH)

    await pull(harness)

    (device,) = harness.homeserver.encryption_devices(SCRIBE)
    assert device != address[1]
    async with harness.database.read_only() as tx:
        sessions = await tx.olm_sessions.with_devices(SCRIBE, [lost.account.curve25519])
    assert not any(sessions.values()), "no session of the old account serves the new one"
    event = harness.encrypt("after")
    await harness.receive(event)
    assert harness.read(await harness.send("after")) == "after"


async def test_a_broken_session_is_started_anew(harness: EncryptionHarness) -> None:
    address = await address_of(harness)
    harness.alice.members_devices([Ghost(SCRIBE)])
    await harness.receive(harness.encrypt("first"))
    harness.read(await harness.send("first"))
    async with harness.database.transaction() as tx:
        await tx.olm_sessions.delete_all(SCRIBE)
    harness.alice.policy = type(harness.alice.policy)(max_messages=1)
    event = harness.encrypt("with a lost session")

    await harness.receive(event)
    (row,) = await harness.waiting()
    assert row.session_id == event["content"]["session_id"]
    harness.alice.now_ms += 1
    harness.alice.receive_all()
    await harness.receive(harness.encrypt("with the new one"))

    assert await harness.bodies() == ["first", "with the new one"]
    assert harness.homeserver.keys.queues[address] is not None


async def test_a_lost_pull_counts_as_failed(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    harness.homeserver.next("sync", HANG_UP, HANG_UP)

    with pytest.raises(HomeserverUnavailable):
        await pull(harness)
    await pull(harness)

    assert harness.run.count("pulls", result="failed") == 1
    assert harness.run.count("pulls", result="empty") == 1


async def test_keys_that_come_while_pulling_are_read(harness: EncryptionHarness) -> None:
    """A key that comes between the answer and its commit is not acknowledged by its token."""
    harness.homeserver.queue(await address_of(harness), *noise())
    events: list[dict[str, Any]] = []

    def interfere(received: ReceivedRequest) -> None:
        if received.query.get("since") and not events:
            events.append(harness.encrypt("late"))

    harness.homeserver.on_sync = interfere
    await pull(harness)
    await pull(harness)

    assert await knows(harness, events[0])


async def test_two_pulls_of_a_ghost_follow_each_other(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    end = harness.homeserver.hold("sync")
    first = asyncio.create_task(pull(harness))

    async def is_pulling() -> bool:
        return len(harness.homeserver.all("sync")) == 1

    await eventually(is_pulling)
    second = asyncio.create_task(pull(harness))
    event = harness.encrypt("between")
    end.set()

    await asyncio.gather(first, second)

    assert len(harness.homeserver.all("sync")) == 2
    assert await knows(harness, event)


async def test_a_key_request_of_a_reader_is_answered(harness: EncryptionHarness) -> None:
    sent = await harness.send("again, please")
    harness.alice.take_queue()
    harness.alice.members_devices([Ghost(SCRIBE)])
    harness.alice.request_key(sent)

    await pull(harness)

    assert harness.read(sent) == "again, please"
    assert harness.run.count("key_requests", step="answered") == 1


async def test_a_key_request_of_a_stranger_is_not_answered(harness: EncryptionHarness) -> None:
    sent = await harness.send("not for Eve")
    eve = Peer(harness.homeserver.keys, "@eve:city.localhost", "PHONE")
    eve.members_devices([Ghost(SCRIBE)])
    assert await harness.parts.encryptor._device_lists.of([eve.user], as_ghost=SCRIBE)
    eve.request_key(sent)

    await pull(harness)

    assert eve.take_queue() == []
    assert harness.run.count("key_requests", step="answered") == 0


async def test_a_second_request_within_a_minute_waits(harness: EncryptionHarness) -> None:
    sent = await harness.send("once")
    harness.alice.members_devices([Ghost(SCRIBE)])
    harness.alice.take_queue()
    for _ in range(2):
        harness.alice.store.requests.clear()
        harness.alice.request_key(sent)
        await pull(harness)

    assert len(harness.alice.take_queue()) == 1
