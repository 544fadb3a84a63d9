"""The background task of encryption: it goes on after refusals and outages, and a new leader drops what it knew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.encryption import service as service_module
from daarion_appservice.realtime import worker as worker_module
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.encryption_harness import GUIDE, SCRIBE, EncryptionHarness
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, Fault, refused

FAULTS: dict[str, Fault] = {
    "hang-up": HANG_UP,
    "limited": refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=1),
    "error": refused(500, "M_UNKNOWN"),
    "unregistered": NOT_REGISTERED,
}


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "RETRY_S", 0.01)
    monkeypatch.setattr(service_module, "_REFUSED_S", 0.01)


@asynccontextmanager
async def running(harness: EncryptionHarness) -> AsyncIterator[Callable[[], bool]]:
    """Run the background task; yield whether it has ended."""
    task = asyncio.create_task(harness.parts.service.run())
    try:
        yield task.done
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_ready(harness: EncryptionHarness, has_ended: Callable[[], bool], *ghosts: str) -> None:
    """Wait until the ghosts have devices, while the homeserver counts as up again after each outage."""

    async def is_ready() -> bool:
        assert not has_ended(), "no response of a homeserver ends the task"
        if not harness.run.monitor.is_up:
            harness.run.monitor.mark_up()
            harness.parts.service._on_return()
        harness.parts.service._worker.wake()
        return all(harness.homeserver.encryption_devices(ghost) for ghost in ghosts)

    await eventually(is_ready)


async def test_an_unregistered_ghost_stops_no_check(harness: EncryptionHarness) -> None:
    harness.ghosts.append(GUIDE)
    await harness.parts.service._step()
    harness.homeserver.keys.device_keys[SCRIBE].clear()
    harness.start()
    harness.homeserver.next("query_keys", NOT_REGISTERED)

    await harness.parts.service._step()

    assert harness.homeserver.encryption_devices(SCRIBE)


@pytest.mark.parametrize("fault", ["hang-up", "limited", "error"])
async def test_a_failed_check_is_repeated(
    harness: EncryptionHarness, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(monkeypatch)
    await harness.parts.devices.ensure(SCRIBE)
    harness.homeserver.keys.device_keys[SCRIBE].clear()
    harness.start()
    harness.homeserver.next("query_keys", FAULTS[fault])

    async with running(harness) as has_ended:
        await until_ready(harness, has_ended, SCRIBE)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_failed_set_up_stops_no_other(
    harness: EncryptionHarness, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(monkeypatch)
    harness.ghosts.append(GUIDE)
    harness.homeserver.next("upload_keys", fault)

    async with running(harness) as has_ended:
        await until_ready(harness, has_ended, GUIDE)


@pytest.mark.parametrize("fault", ["hang-up", "limited", "error"])
async def test_a_failed_deletion_is_repeated(
    harness: EncryptionHarness, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(monkeypatch)
    await harness.parts.devices.ensure(SCRIBE)
    harness.start(is_enabled=False)
    harness.homeserver.next("delete_device", FAULTS[fault], FAULTS[fault])

    async with running(harness) as has_ended:

        async def is_deleted() -> bool:
            await until_ready(harness, has_ended)
            return not harness.homeserver.encryption_devices(SCRIBE)

        await eventually(is_deleted)


async def test_unsent_events_are_sent_by_the_task(harness: EncryptionHarness) -> None:
    harness.homeserver.break_off("to_device")
    with pytest.raises(HomeserverUnavailable):
        await harness.send("unsent")
    assert harness.homeserver.keys.queues.get(harness.alice.address) is None

    await harness.parts.service._step()

    assert len(harness.homeserver.keys.queues[harness.alice.address]) == 1


async def test_each_ghost_pulls_once_an_hour(harness: EncryptionHarness) -> None:
    harness.ghosts.append(GUIDE)
    await harness.parts.service._step()
    before = len(harness.homeserver.all("sync"))
    await harness.parts.service._step()
    assert len(harness.homeserver.all("sync")) == before

    harness.clock.now_ms += 3_600_000
    await harness.parts.service._step()

    assert {request.user for request in harness.homeserver.all("sync")[before:]} == {SCRIBE, GUIDE}


async def test_a_sweep_replaces_used_up_keys(harness: EncryptionHarness) -> None:
    await harness.parts.service._step()
    stored = await harness.account()
    assert stored is not None
    address = SCRIBE, stored.account.device_id
    harness.homeserver.keys.one_time_keys[address].clear()
    harness.homeserver.keys.fallback_keys[address].clear()

    harness.clock.now_ms += 3_600_000
    await harness.parts.service._step()

    assert len(harness.homeserver.keys.one_time_keys[address]) == 50
    assert len(harness.homeserver.keys.fallback_keys[address]) == 1


async def test_a_leader_change_drops_nothing(on_each: EncryptionHarness, database_url: str) -> None:
    """The leader changes from one process to the other and back, each with its own connections to the database."""
    first = on_each.run
    assert on_each.read(await on_each.send("from the first")) == "from the first"
    await on_each.receive(on_each.encrypt("to the first"))

    first_database, on_each.database = on_each.database, Database(database_url)
    second = on_each.start()
    second.parts.service.begin_run()
    await second.parts.devices.renew(SCRIBE)
    await on_each.receive(on_each.encrypt("to the second"))
    assert on_each.read(await on_each.send("from the second")) == "from the second"
    await on_each.database.close()

    on_each.database, on_each.run = first_database, first
    on_each.clock.now_ms += 1
    first.parts.service.begin_run()
    await on_each.receive(on_each.encrypt("back to the first"))
    assert on_each.read(await on_each.send("back from the first")) == "back from the first"
    assert await on_each.bodies() == ["to the first", "to the second", "back to the first"]
