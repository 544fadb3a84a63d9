"""The encryption devices of ghosts: set-up, crashes, lost keys, resets, refusals, and the end of encryption."""

from __future__ import annotations

import pytest

from daarion_appservice.encryption.cross_signing import has_device, has_identity
from daarion_appservice.encryption.devices import verify_devices
from daarion_appservice.errors import HomeserverRefused, HomeserverUnavailable
from daarion_appservice.matrix.encryption.support import SupportState
from tests.parts.encryption_harness import GUIDE, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import KEY
from tests.parts.scripted_homeserver import HANG_UP, LOSE, NOT_REGISTERED, Fault, HangUp, Lose, refused

SET_UP = ("device", "query_keys", "upload_keys", "signing_keys", "signatures", "devices")
CLASH = refused(400, "M_UNKNOWN", "One time key signed_curve25519:AAAAAQ already exists. Old key: …; new key: …")


async def device_of(harness: EncryptionHarness) -> str:
    """Return the id of the only device of the ghost, which has verified keys of its account."""
    stored = await harness.account()
    assert stored is not None
    assert stored.is_uploaded
    assert not stored.is_reset_requested
    response = harness.homeserver.keys.query()
    assert has_device(response, stored.account) is True
    assert has_identity(response, stored.account, KEY)
    assert harness.homeserver.encryption_devices(SCRIBE) == [stored.account.device_id]
    (device,) = verify_devices(response, user=SCRIBE, known={}).devices
    assert device.is_cross_signed
    assert len(harness.homeserver.keys.one_time_keys[SCRIBE, device.device_id]) >= 50
    assert harness.homeserver.keys.fallback_keys[SCRIBE, device.device_id]
    return device.device_id


def master_key(harness: EncryptionHarness) -> object:
    return harness.homeserver.keys.master_keys[SCRIBE]["keys"]


async def test_a_new_ghost_gets_a_signed_device(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)

    assert (await device_of(on_each)).startswith("CITY_E2EE_")
    assert [request.what for request in on_each.homeserver.requests] == list(SET_UP)
    assert on_each.run.count("devices_set_up", reason="new") == 1


async def test_a_ready_ghost_causes_no_request(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    before = len(harness.homeserver.requests)

    await harness.parts.devices.ensure(SCRIBE)
    harness.start()
    await harness.parts.devices.ensure(SCRIBE)

    assert len(harness.homeserver.requests) == before


@pytest.mark.parametrize("fault", [HANG_UP, LOSE], ids=["before", "after"])
@pytest.mark.parametrize("what", SET_UP)
async def test_a_crash_in_the_set_up_continues(harness: EncryptionHarness, what: str, fault: HangUp | Lose) -> None:
    harness.homeserver.break_off(what, fault)
    with pytest.raises(HomeserverUnavailable):
        await harness.parts.devices.ensure(SCRIBE)

    harness.start()
    await harness.parts.devices.ensure(SCRIBE)

    await device_of(harness)
    await harness.send()


async def test_a_key_clash_makes_a_new_device(harness: EncryptionHarness) -> None:
    harness.homeserver.next("upload_keys", CLASH)

    await harness.parts.devices.ensure(SCRIBE)

    await device_of(harness)
    assert len({request.path["device"] for request in harness.homeserver.all("device")}) == 2


async def test_a_reset_keeps_the_identity(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    first, identity = await device_of(on_each), master_key(on_each)
    async with on_each.database.transaction() as tx:
        await tx.encryption_accounts.request_reset(SCRIBE)

    await on_each.parts.service._step()

    assert await device_of(on_each) != first
    assert master_key(on_each) == identity
    assert len(on_each.homeserver.all("signing_keys")) == 1
    assert on_each.run.count("devices_set_up", reason="reset") == 1


@pytest.mark.parametrize("what", ["device", "query_keys", "upload_keys", "signatures", "devices", "delete_device"])
async def test_a_crash_in_a_reset_continues(harness: EncryptionHarness, what: str) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    identity = master_key(harness)
    harness.homeserver.break_off(what)
    with pytest.raises(HomeserverUnavailable):
        await harness.parts.devices.renew(SCRIBE)

    harness.start()
    await harness.parts.service._step()

    await device_of(harness)
    assert master_key(harness) == identity


async def test_a_device_lost_by_the_homeserver_is_replaced(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    first = await device_of(on_each)
    on_each.homeserver.keys.device_keys[SCRIBE].clear()

    on_each.start()
    await on_each.parts.service._step()

    assert await device_of(on_each) != first
    assert on_each.run.count("devices_set_up", reason="lost") == 1


async def test_other_keys_of_the_device_are_replaced(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = await device_of(harness)
    keys = harness.homeserver.keys.device_keys[SCRIBE][first]["keys"]
    keys[f"curve25519:{first}"] = "A" * 43

    harness.start()
    await harness.parts.service._step()

    assert await device_of(harness) != first


async def test_a_lost_identity_is_uploaded_again(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    identity = master_key(harness)
    del harness.homeserver.keys.master_keys[SCRIBE]

    harness.start()
    await harness.parts.service._step()

    await device_of(harness)
    assert master_key(harness) == identity


async def test_encryption_off_deletes_the_devices(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    identity = master_key(on_each)

    on_each.start(is_enabled=False)
    await on_each.parts.service._step()
    assert on_each.homeserver.encryption_devices(SCRIBE) == []

    on_each.start()
    await on_each.parts.service._step()
    await device_of(on_each)
    assert master_key(on_each) == identity


async def test_other_devices_of_a_ghost_stay(harness: EncryptionHarness) -> None:
    harness.homeserver.device_ids[SCRIBE] = ["CITY", "CITY_E2EE_OLD"]

    await harness.parts.devices.ensure(SCRIBE)

    assert "CITY" in harness.homeserver.device_ids[SCRIBE]
    assert "CITY_E2EE_OLD" not in harness.homeserver.device_ids[SCRIBE]


async def test_an_old_synapse_is_asked_once(harness: EncryptionHarness) -> None:
    harness.ghosts.append(GUIDE)
    harness.homeserver.next("upload_keys", *[refused(400, "M_UNKNOWN", "To upload keys, you must pass device_id")] * 9)

    for ghost in (SCRIBE, GUIDE, SCRIBE):
        await harness.parts.devices.ensure(ghost)

    assert harness.parts.support.state is SupportState.REFUSED
    assert "device_id" in str(harness.parts.support.refusal)
    assert len(harness.homeserver.all("upload_keys")) == 1
    assert not harness.parts.chats.is_active


async def test_a_new_synapse_is_asked_after_its_return(harness: EncryptionHarness) -> None:
    harness.homeserver.next("upload_keys", refused(400, "M_UNKNOWN", "To upload keys, you must pass device_id"))
    await harness.parts.devices.ensure(SCRIBE)

    harness.parts.service._on_return()
    await harness.parts.service._step()

    await device_of(harness)


@pytest.mark.parametrize("reply", [refused(429, "M_LIMIT_EXCEEDED"), refused(500, "M_UNKNOWN"), NOT_REGISTERED])
async def test_a_refusal_that_may_pass_keeps_encryption(harness: EncryptionHarness, reply: Fault) -> None:
    harness.homeserver.next("upload_keys", reply)

    with pytest.raises(HomeserverRefused):
        await harness.parts.devices.ensure(SCRIBE)

    assert harness.parts.support.state is SupportState.UNKNOWN
    await harness.parts.devices.ensure(SCRIBE)
    await device_of(harness)


async def test_a_ghost_registered_again_gets_a_new_device(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = await device_of(harness)

    await harness.parts.on_registered(SCRIBE)

    assert await device_of(harness) != first


async def test_a_ghost_registered_again_counts_as_lost(harness: EncryptionHarness) -> None:
    await harness.parts.on_registered(SCRIBE)
    first = await device_of(harness)
    await harness.parts.on_registered(SCRIBE)
    assert await device_of(harness) != first
    counts = {reason: harness.run.count("devices_set_up", reason=reason) for reason in ("new", "lost", "reset")}
    assert counts == {"new": 1, "lost": 1, "reset": 0}
