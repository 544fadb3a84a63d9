"""The presence sender with the Synapse module: batches, leases, and the fallback to the client API."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from daarion_appservice.matrix.presence import sender
from tests.parts.city import eventually
from tests.parts.ghost_presence import (
    AWAY,
    LIMITED,
    OFFLINE,
    ONLINE,
    GhostHomeserver,
    GhostPresenceHarness,
    boot_shared_homeserver,
    until,
    until_presence,
)

MODULE = Path(__file__).parents[2] / "synapse_module"
MODULE_TIMEOUT_S = 5
"""The timeout (s) of the module after the last request."""


@pytest.fixture(scope="module")
def homeserver_with_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GhostHomeserver]:
    modules = [{"module": "daarion_synapse_module.DaarionPresence", "config": {"timeout_s": MODULE_TIMEOUT_S}}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(MODULE))
        shared_homeserver = asyncio.run(
            boot_shared_homeserver(tmp_path_factory.mktemp("shared_homeserver-with-module"), {"modules": modules})
        )
    yield shared_homeserver
    shared_homeserver.homeserver.kill()


@pytest.fixture
async def harness_with_module(
    tmp_path: Path, homeserver_with_module: GhostHomeserver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[GhostPresenceHarness]:
    monkeypatch.setenv("PYTHONPATH", str(MODULE))  # for tests that restart the homeserver
    async with homeserver_with_module.harness(tmp_path, ghosts=4) as harness:
        yield harness


def module_updates(harness: GhostPresenceHarness) -> list[list[tuple[str, str]]]:
    """Return the updates of each request to the module, without requests that only renew the lease."""
    bodies = [passed.content for passed in harness.proxy.passed if passed.is_module and passed.method == "POST"]
    return [
        [(each["user_id"], each["presence"]) for each in users] for content in bodies if (users := content["users"])
    ]


async def test_module_gets_batches_and_keeps_presences(
    harness_with_module: GhostPresenceHarness,
) -> None:
    harness = harness_with_module
    for number in range(4):
        harness.change(number, ONLINE, "слухаю")
    async with harness.observing(), harness.running_sender():
        await until_presence(harness, *["online"] * 4)
        assert [len(batch) for batch in module_updates(harness)] == [4]
        harness.change(0, AWAY)
        harness.change(1, OFFLINE)
        await until_presence(harness, "unavailable", "offline", "online", "online")
        renewals = len(harness.proxy.passed)

        def has_renewed_beyond_timeout() -> bool:
            renewing = [passed for passed in harness.proxy.passed[renewals:] if passed.is_module]
            return bool(renewing) and renewing[-1].at - renewing[0].at > 2 * MODULE_TIMEOUT_S

        await eventually(lambda: asyncio.sleep(0, has_renewed_beyond_timeout()))
        await until_presence(harness, "unavailable", "offline", "online", "online")
        assert sum(map(len, module_updates(harness))) == 6, "no ghost was sent twice"
        assert (harness.seen_as("offline"), harness.sent_presences()) == ({harness.ghost(1): 1}, [])
    await harness.presence_sender.stop()
    await until_presence(harness, *["offline"] * 4)


async def test_removed_module_falls_back_to_client_api(
    harness_with_module: GhostPresenceHarness,
) -> None:
    harness = harness_with_module
    harness.change(0, ONLINE)
    async with harness.observing(), harness.running_sender():
        await until(lambda: module_updates(harness))
        setup = harness.homeserver.setup
        harness.homeserver.kill()
        harness.homeserver.setup = dataclasses.replace(setup, overrides={})
        await harness.homeserver.start()
        await until(harness.sent_presences)
        await until_presence(harness, "online")
    assert len(module_updates(harness)) == 1
    harness.homeserver.setup = setup
    await harness.homeserver.restart()


@pytest.mark.soak
async def test_presences_are_sent_again_after_lease_is_lost(
    harness_with_module: GhostPresenceHarness,
) -> None:
    harness = harness_with_module
    harness.change(0, ONLINE)
    harness.change(1, AWAY)
    async with harness.running_sender():
        await until_presence(harness, "online", "unavailable")
        harness.proxy.answer(lambda passed: passed.is_module, 429, LIMITED)
        await until_presence(harness, "offline", "offline")
        harness.proxy.pass_everything()
        await until_presence(harness, "online", "unavailable")


@pytest.mark.soak
async def test_ghosts_of_crashed_service_go_offline(
    harness_with_module: GhostPresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = harness_with_module
    harness.change(0, ONLINE)
    harness.change(1, ONLINE)
    async with harness.running_sender():
        await until_presence(harness, "online", "online")

    monkeypatch.setattr(sender, "_SETTLED_S", 0.1)
    harness.presence_sender = harness.new_sender()
    harness.change(1, ONLINE)
    async with harness.running_sender():
        await until_presence(harness, "offline", "online")
