"""The cost of a thousand ghosts in one room of a real Synapse; minutes each, so only `make soak` runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from daarion_appservice.city.presence import Status
from daarion_appservice.matrix.presence.timeout_probe import UNKNOWN_MS, PresenceTimeoutProbe, period_ms
from tests.parts.city import eventually
from tests.parts.ghost_presence import GhostPresenceHarness, ghost_presence
from tests.parts.synapse import BootSynapse

pytestmark = pytest.mark.soak

COUNT = 1_000
NEVER_S = 600.0
WATCHED_S = 120.0

log = structlog.get_logger()


@pytest.fixture
async def harness(tmp_path: Path, synapse: BootSynapse) -> AsyncIterator[GhostPresenceHarness]:
    async with ghost_presence(tmp_path / "harness", synapse, ghosts=COUNT, refresh_s=NEVER_S) as harness:
        yield harness


async def everybody_is_seen(harness: GhostPresenceHarness, presence: str, what: str) -> None:
    """Wait for it, and assert that it cost one request and one event each."""
    loop = asyncio.get_running_loop()
    began_s, cpu_s = loop.time(), harness.cpu_s()

    async def is_so() -> bool:
        return len(harness.seen_as(presence)) == COUNT

    await eventually(is_so, 120, lambda: f"{len(harness.seen_as(presence))} of {COUNT}")
    log.info(what, took_s=round(loop.time() - began_s, 1), homeserver_cpu_s=round(harness.cpu_s() - cpu_s, 1))
    assert [sent["presence"] for sent in harness.sent_presences()] == [presence] * COUNT
    assert len(harness.seen) == COUNT, "n events for n changes"
    harness.seen.clear()
    harness.proxy.passed.clear()


async def test_mass_change_costs_a_request_and_event_each(
    harness: GhostPresenceHarness,
) -> None:
    async with harness.observing(), harness.running_sender():
        harness.proxy.passed.clear()
        harness.seen.clear()
        for number in range(COUNT):
            harness.change(number, Status.ONLINE)
        await everybody_is_seen(harness, "online", "start")
        for number in range(COUNT):
            harness.change(number, Status.AWAY)
        await everybody_is_seen(harness, "unavailable", "mass_change")
        for number in range(COUNT):
            harness.change(number, Status.OFFLINE)
        await everybody_is_seen(harness, "offline", "mass_timeout")


async def test_thousand_ghosts_stay_online_without_flaps(
    harness: GhostPresenceHarness,
) -> None:
    loop = asyncio.get_running_loop()
    harness.presence_sender._set_period(UNKNOWN_MS)
    async with harness.observing(), harness.running_sender():
        for number in range(COUNT):
            harness.change(number, Status.ONLINE)

        async def all_are_online() -> bool:
            return len(harness.seen_as("online")) == COUNT

        await eventually(all_are_online, 120)
        harness.seen.clear()
        harness.proxy.passed.clear()
        cpu_s = harness.cpu_s()
        await asyncio.sleep(WATCHED_S)
        sent = len(harness.sent_presences())
        log.info(
            "watched",
            refreshes=sent,
            homeserver_cpu_share=round((harness.cpu_s() - cpu_s) / WATCHED_S, 3),
            events=len(harness.seen),
        )
        assert set(harness.last_seen().values()) <= {"online"}
        rounds = WATCHED_S * 1000 / UNKNOWN_MS
        assert COUNT * (rounds - 1) <= sent <= COUNT * (rounds + 1.5)

        at_s = loop.time()
        harness.change(0, Status.AWAY)

        async def is_seen() -> bool:
            return harness.last_seen().get(harness.ghost(0)) == "unavailable"

        await eventually(is_seen)
        log.info("one_change", seen_after_ms=round((loop.time() - at_s) * 1000))


@pytest.mark.parametrize(("configured", "least_s"), [("30s", 30), ("75s", 75), ("10m", 90)])
async def test_wait_of_homeserver_is_measured_and_kept(
    tmp_path: Path, synapse: BootSynapse, configured: str, least_s: int
) -> None:
    presence = {
        "enabled": True,
        "sync_online_timeout": configured,
        "last_active_granularity": "1m",
        "idle_timeout": "20m",
    }
    async with ghost_presence(tmp_path / "harness", synapse, ghosts=0, overrides={"presence": presence}) as harness:
        probe = PresenceTimeoutProbe(harness.client, harness.monitor, harness.database, harness.identities)
        periods: list[int] = []
        finding = asyncio.create_task(probe.run(periods.append))

        async def held_ms() -> int | None:
            assert not finding.done(), finding.exception()
            async with harness.database.read_only() as tx:
                return await tx.key_values.presence_timeout_ms(harness.client.software)

        held_s = (await eventually(held_ms, 180) or 0) / 1000
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)
        log.info("presence_timeout", configured=configured, held_s=held_s, period_s=periods[-1] / 1000)
        assert periods[0] == UNKNOWN_MS
        assert periods[-1] == period_ms(int(held_s * 1000))
        assert least_s - 5 <= held_s <= least_s + 15
        # What was concluded is safe.
        assert periods[-1] / 1000 <= 0.8 * least_s
