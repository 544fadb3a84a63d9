"""Devices of other users in the database, and whether they are up to date."""

from __future__ import annotations

from daarion_appservice.city.types import UserId
from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_rows import ALICE, BOB, CURVE, EMOJI_DEVICE, OTHER_CURVE, device_row

PHONE, LAPTOP = device_row(), device_row(device_id="LAPTOP", curve25519=OTHER_CURVE, is_cross_signed=True)


async def test_replaced_devices_of_user_are_complete(tx: Transaction) -> None:
    devices = tx.encryption_devices
    other = device_row(BOB, EMOJI_DEVICE)
    await devices.replace(BOB, [other])
    await devices.replace(ALICE, [PHONE])
    await devices.replace(ALICE, [LAPTOP])
    assert await devices.of_users([ALICE, BOB]) == {ALICE: {"LAPTOP": LAPTOP}, BOB: {EMOJI_DEVICE: other}}


async def test_user_without_devices_is_empty(tx: Transaction) -> None:
    assert await tx.encryption_devices.of_users([ALICE]) == {ALICE: {}}
    assert await tx.encryption_devices.of_users([]) == {}


async def test_key_that_two_users_claim_has_no_owner(tx: Transaction) -> None:
    devices = tx.encryption_devices
    await devices.replace(ALICE, [PHONE, LAPTOP, device_row(device_id="SAME")])
    await devices.replace(BOB, [device_row(BOB, curve25519=OTHER_CURVE)])
    assert await devices.owners([ALICE, BOB]) == {CURVE: ALICE}
    assert await devices.owners([ALICE]) == {CURVE: ALICE, OTHER_CURVE: ALICE}


async def test_only_replaced_users_are_fresh(tx: Transaction) -> None:
    devices = tx.encryption_devices
    carol = UserId("@carol:city.localhost")
    await devices.add_stale([ALICE, BOB, ALICE])
    await devices.replace(ALICE, [])
    assert await devices.stale([ALICE, BOB, carol]) == {BOB, carol}
    assert await devices.stale([ALICE]) == set()


async def test_change_marks_only_tracked_users(tx: Transaction) -> None:
    devices = tx.encryption_devices
    for user in (ALICE, BOB):
        await devices.replace(user, [])
    carol = UserId("@carol:city.localhost")
    await devices.mark_stale([ALICE, carol])
    assert await devices.stale([ALICE, BOB]) == {ALICE}
    assert await devices.changes([ALICE, BOB, carol]) == {ALICE: 1, BOB: 0, carol: 0}
    await devices.mark_all_stale()
    assert await devices.stale([ALICE, BOB]) == {ALICE, BOB}


async def test_added_user_becomes_stale_again(tx: Transaction) -> None:
    devices = tx.encryption_devices
    await devices.add_stale([ALICE])
    await devices.replace(ALICE, [PHONE])
    await devices.add_stale([ALICE])
    assert await devices.stale([ALICE]) == {ALICE}
    assert await devices.of_users([ALICE]) == {ALICE: {"PHONE": PHONE}}, "the devices stay until they are replaced"


async def test_change_during_query_keeps_user_stale(tx: Transaction) -> None:
    devices = tx.encryption_devices
    await devices.add_stale([ALICE])
    before = (await devices.changes([ALICE]))[ALICE]
    await devices.mark_stale([ALICE])
    await devices.replace(ALICE, [PHONE], changes=before)
    assert await devices.stale([ALICE]) == {ALICE}
    await devices.replace(ALICE, [PHONE], changes=before + 1)
    assert await devices.stale([ALICE]) == set()
    await devices.replace(ALICE, [], changes=before)
    assert await devices.stale([ALICE]) == {ALICE}, "an older response came last"


async def test_devices_of_33000_users_are_read(tx: Transaction) -> None:
    devices = tx.encryption_devices
    users = [*(UserId(f"@u{n}:x") for n in range(33_000)), ALICE]
    await devices.replace(ALICE, [PHONE])
    assert (await devices.of_users(users))[ALICE] == {"PHONE": PHONE}
    assert await devices.owners(users) == {CURVE: ALICE}
    assert len(await devices.stale(users)) == 33_000
    await devices.mark_stale(users)
    assert sum((await devices.changes(users)).values()) == 1
