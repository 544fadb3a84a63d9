"""The device lists of people: queried when they are missing or changed, and kept when a homeserver does not answer."""

from __future__ import annotations

import asyncio

import pytest

from daarion_appservice.city.types import UserId
from tests.parts.city import eventually
from tests.parts.encryption_harness import ALICE, BOB, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import Peer
from tests.parts.scripted_homeserver import Reply

STALE = UserId(ALICE)


async def devices_of(harness: EncryptionHarness, *users: str) -> set[str]:
    """Return the ids of the devices for which the service would encrypt."""
    lists = harness.parts.encryptor._device_lists
    return {row.device_id for row in await lists.of([UserId(user) for user in users], as_ghost=SCRIBE)}


def queries(harness: EncryptionHarness) -> list[set[str]]:
    return [set(request.content["device_keys"]) for request in harness.homeserver.all("query_keys")]


async def mark_changed(harness: EncryptionHarness, user: str = ALICE) -> None:
    async with harness.database.transaction() as tx:
        await tx.encryption_devices.mark_stale({UserId(user)})


async def test_a_list_is_queried_once(on_each: EncryptionHarness) -> None:
    assert await devices_of(on_each, ALICE) == {"PHONE"}
    assert await devices_of(on_each, ALICE) == {"PHONE"}
    on_each.start()
    assert await devices_of(on_each, ALICE) == {"PHONE"}

    assert queries(on_each) == [{ALICE}]


async def test_only_changed_lists_are_queried(on_each: EncryptionHarness) -> None:
    Peer(on_each.homeserver.keys, BOB, "LAPTOP")
    await devices_of(on_each, ALICE, BOB)
    Peer(on_each.homeserver.keys, BOB, "TABLET", cross_signed=False)
    await mark_changed(on_each, BOB)

    assert await devices_of(on_each, ALICE, BOB) == {"PHONE", "LAPTOP", "TABLET"}
    assert queries(on_each) == [{ALICE, BOB}, {BOB}]


async def test_a_change_while_querying_is_queried_again(on_each: EncryptionHarness) -> None:
    end = on_each.homeserver.hold("query_keys")
    first = asyncio.create_task(devices_of(on_each, ALICE))

    async def is_querying() -> bool:
        return bool(queries(on_each))

    await eventually(is_querying)
    await mark_changed(on_each)
    end.set()
    await first

    await devices_of(on_each, ALICE)
    await devices_of(on_each, ALICE)
    assert queries(on_each) == [{ALICE}, {ALICE}]


async def test_a_failed_server_leaves_the_known_devices(on_each: EncryptionHarness) -> None:
    Peer(on_each.homeserver.keys, BOB, "LAPTOP")
    await devices_of(on_each, ALICE, BOB)
    await mark_changed(on_each, BOB)
    on_each.homeserver.failed_servers = {"elsewhere.example"}

    assert await devices_of(on_each, ALICE, BOB) == {"PHONE", "LAPTOP"}

    on_each.homeserver.failed_servers = set()
    on_each.clock.now_ms += 30_000
    del on_each.homeserver.keys.device_keys[BOB]["LAPTOP"]
    assert await devices_of(on_each, ALICE, BOB) == {"PHONE"}


async def test_other_keys_of_a_device_are_refused(harness: EncryptionHarness) -> None:
    await devices_of(harness, ALICE)
    Peer(harness.homeserver.keys, ALICE, "PHONE", cross_signed=False)
    await mark_changed(harness)

    await devices_of(harness, ALICE)

    async with harness.database.read_only() as tx:
        stored = (await tx.encryption_devices.of_users([STALE]))[STALE]
    assert [row.curve25519 for row in stored.values()] in ([], [harness.alice.account.curve25519])


async def test_a_member_event_marks_the_list(harness: EncryptionHarness) -> None:
    await devices_of(harness, ALICE)

    await harness.receive_clear("m.room.member", {"membership": "join"}, state_key=ALICE)

    await devices_of(harness, ALICE)
    assert len(queries(harness)) == 2


async def test_a_pull_marks_the_lists_that_it_names(harness: EncryptionHarness) -> None:
    await devices_of(harness, ALICE)
    harness.homeserver.changed[SCRIBE] = [ALICE, BOB]

    await harness.parts.chats.pull_ghost(SCRIBE)

    await devices_of(harness, ALICE)
    assert [query for query in queries(harness) if SCRIBE not in query] == [{ALICE}, {ALICE}]


@pytest.mark.parametrize("device_keys", [None, [], "text", {ALICE: []}, {ALICE: None}, {ALICE: {"PHONE": None}}])
async def test_an_invalid_answer_ends_nothing(harness: EncryptionHarness, device_keys: object) -> None:
    await devices_of(harness, ALICE)
    await mark_changed(harness)
    harness.homeserver.next("query_keys", Reply(200, {"device_keys": device_keys}))

    assert await devices_of(harness, ALICE) <= {"PHONE"}


async def test_a_failed_server_is_asked_at_growing_intervals(harness: EncryptionHarness) -> None:
    Peer(harness.homeserver.keys, BOB, "LAPTOP")
    harness.homeserver.failed_servers = {"elsewhere.example"}
    await devices_of(harness, ALICE, BOB)
    assert await devices_of(harness, ALICE, BOB) == {"PHONE"}
    assert queries(harness) == [{ALICE, BOB}]
    for pause_ms in (30_000, 60_000):
        harness.clock.now_ms += pause_ms
        before = len(queries(harness))
        await devices_of(harness, ALICE, BOB)
        await devices_of(harness, ALICE, BOB)
        assert queries(harness)[before:] == [{BOB}]

    harness.homeserver.failed_servers = set()
    assert await devices_of(harness, BOB) == set()
    async with harness.database.transaction() as tx:
        await harness.parts.encryptor._device_lists.mark_changed(tx, [UserId(BOB)])
    assert await devices_of(harness, BOB) == {"LAPTOP"}, "news of its users end the pause"
