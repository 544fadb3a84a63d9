"""The schedule of the sweeps for Matrix events that no transaction delivered, without I/O: a sweep costs a ``/sync``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any, cast

import pytest

from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.backfill import sweeper as sweeper_module
from daarion_appservice.matrix.backfill.gap_backfill import GapBackfill
from daarion_appservice.matrix.backfill.metrics import Missed
from daarion_appservice.matrix.backfill.sweeper import Sweeper
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from tests.parts.clock import MillisecondsClock

ROUND_S = 300.0
DUE_S = 30.0


def agent(slug: str) -> Agent:
    return Agent(f"ag_{slug}", AgentSlug(slug), slug, "")


class Backfill:
    """Records the sweeps; ``missing`` are the events that the next one of the city finds, ``of_agents`` those of agents."""

    def __init__(self) -> None:
        self.cities = 0
        self.all_readers = 0
        self.agents: list[list[AgentSlug]] = []
        self.missing = 0
        self.of_agents: list[int] = []
        self.error: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    async def sweep_city(self, _reason: Missed) -> int:
        self.cities += 1
        self.meanwhile()
        if self.error is not None:
            raise self.error
        missing, self.missing = self.missing, 0
        return missing

    async def sweep_agents(self, agents: Collection[AgentSlug], _reason: Missed) -> int:
        self.agents.append([*agents])
        return self.of_agents.pop(0) if self.of_agents else 0

    async def run(self, _reason: Missed) -> int:
        self.all_readers += 1
        return 2


class Monitor:
    def __init__(self) -> None:
        self.report_silence: Callable[[], None] = lambda: None

    def on_silence(self, listener: Callable[[], None]) -> None:
        self.report_silence = listener


class SteppedWorker:
    """Takes the place of `Worker`: the time of its pauses passes at once."""

    clock: MillisecondsClock
    until_s: float

    def __init__(self, _task: str, **_options: Any) -> None:
        self.is_woken = False

    def wake(self) -> None:
        self.is_woken = True

    async def run(self, step: Callable[[], Awaitable[float]]) -> None:
        end_ms = self.clock.now_ms + self.until_s * 1000
        while self.clock.now_ms < end_ms:
            self.is_woken = False
            pause_s = await step()
            self.clock.now_ms += 0 if self.is_woken else int(pause_s * 1000)


class Scheduled:
    """A sweeper of a city with this many agents, after its first step, which sweeps all of them."""

    def __init__(self, agents: int, *, every_s: float = DUE_S) -> None:
        self.directory = AgentDirectory()
        self.directory.replace(agent(f"a{number:05}") for number in range(agents))
        self.backfill, self.monitor = Backfill(), Monitor()
        self.sweeper = Sweeper(
            cast("GapBackfill", self.backfill),
            cast("HomeserverMonitor", self.monitor),
            self.directory,
            SteppedWorker.clock,
            every_s=every_s,
        )

    async def run(self, seconds: float) -> None:
        SteppedWorker.until_s = seconds
        await self.sweeper.run()


@pytest.fixture(autouse=True)
def stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    SteppedWorker.clock = MillisecondsClock()
    monkeypatch.setattr(sweeper_module, "Worker", SteppedWorker)


@pytest.mark.parametrize(("agents", "at_once"), [(1, 1), (7, 1), (600, 1), (1_010, 2), (10_000, 17)])
async def test_each_agent_is_swept_once_a_round_a_few_at_a_time(agents: int, at_once: int) -> None:
    scheduled = Scheduled(agents)
    await scheduled.run(ROUND_S)
    first, *others = scheduled.backfill.agents
    assert len(first) == agents
    assert max(map(len, others)) <= at_once
    # The last sweep of the round may be of fewer agents, so that a part of a second one is in the time.
    swept = Counter(slug for group in others for slug in group)
    assert len(swept) == agents
    assert sum(swept.values()) <= max(agents * 1.05, ROUND_S / DUE_S + 1)
    assert scheduled.backfill.cities == ROUND_S / DUE_S


async def test_short_interval_sweeps_few_agents_sooner() -> None:
    scheduled = Scheduled(3, every_s=1.0)
    await scheduled.run(6.0)
    assert scheduled.backfill.cities == 6
    assert Counter(slug for group in scheduled.backfill.agents[1:] for slug in group) == dict.fromkeys(
        ["a00000", "a00001", "a00002"], 2
    )


async def test_city_without_agents_is_swept() -> None:
    scheduled = Scheduled(0)
    await scheduled.run(2 * DUE_S)
    assert scheduled.backfill.cities == 2


async def test_agents_of_the_next_round_are_the_present_ones() -> None:
    scheduled = Scheduled(2)
    await scheduled.run(DUE_S)
    scheduled.directory.replace([agent("new")])
    await scheduled.run(3 * DUE_S)
    assert [AgentSlug("new")] in scheduled.backfill.agents[-2:]


async def test_missing_event_of_the_city_sweeps_all_agents() -> None:
    scheduled = Scheduled(1_000)
    scheduled.backfill.missing = 3
    await scheduled.run(0.5)
    scheduled.backfill.agents.clear()
    scheduled.backfill.missing = 3
    scheduled.monitor.report_silence()
    await scheduled.run(0.5)
    assert len(scheduled.backfill.agents[0]) == 1_000
    assert scheduled.sweeper.deliveries.startswith("3 events came by no transaction")


async def test_missing_event_of_an_agent_sweeps_all_readers() -> None:
    scheduled = Scheduled(2)
    scheduled.backfill.of_agents = [0, 1]
    await scheduled.run(DUE_S)
    assert scheduled.backfill.all_readers == 1


async def test_missing_events_are_reported_until_the_next_sweep_of_the_city() -> None:
    scheduled = Scheduled(1_000)
    scheduled.backfill.missing = 4
    await scheduled.run(DUE_S - 1)
    assert scheduled.sweeper.deliveries == "4 events came by no transaction, and were fetched"
    await scheduled.run(2 * DUE_S)
    assert scheduled.sweeper.deliveries == "ok"


async def test_silence_during_a_sweep_asks_for_another_one() -> None:
    scheduled = Scheduled(1)

    def be_silent_once() -> None:
        scheduled.backfill.meanwhile = lambda: None
        scheduled.monitor.report_silence()

    scheduled.backfill.meanwhile = be_silent_once
    await scheduled.run(1.0)
    assert scheduled.backfill.cities == 2


async def test_sweep_that_failed_is_due_again() -> None:
    scheduled = Scheduled(1)
    scheduled.backfill.error = HomeserverUnavailable("down")
    with pytest.raises(HomeserverUnavailable):
        await scheduled.run(1.0)
    scheduled.backfill.error = None
    await scheduled.run(1.0)
    assert scheduled.backfill.cities == 2
    assert len(scheduled.backfill.agents) == 2, "all agents, and the next one"
