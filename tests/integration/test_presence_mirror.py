"""What the homeserver is told of the agents' presence, counted on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.parts.city import AGENTS, RunningCity, eventually
from tests.parts.ports import free_port
from tests.parts.proxy import Passed, Proxy
from tests.parts.synapse import BootSynapse

DAARWIZZ = "@agent_daarwizz:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
REFRESH_S = 2.0
NEVER_S = 600.0
"""A refresh that does not come while a test runs."""
JITTER = 0.2
LATE_S = 1.0
"""How much later than it should a busy machine may bring a request."""


class WatchedCity:
    """A city between which and its homeserver everything is counted."""

    def __init__(self, city: RunningCity, proxy: Proxy) -> None:
        self.city = city
        self.proxy = proxy
        self._tokens: dict[str, str] = {}

    async def beat(self, slug: str, **heartbeat: str) -> None:
        if slug not in self._tokens:
            self._tokens[slug] = await self.city.agent_token(slug)
        await self.city.post(f"/api/v1/agents/{slug}/heartbeat", heartbeat, token=self._tokens[slug])

    def told(self, user: str, since: int = 0) -> list[Passed]:
        """The presence of ``user`` as it was told, oldest first, leaving out the first ``since`` requests of all."""
        return [passed for passed in self.proxy.passed[since:] if passed.is_presence and user in passed.path]

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        async def holds() -> bool:
            return bool(condition())

        await eventually(holds, timeout_s, lambda: "\n".join(self.city.service.last_lines(60)))


@pytest.fixture
def refresh_s() -> float:
    return REFRESH_S


@pytest.fixture
async def watched(
    tmp_path: Path, sqlite_url: str, synapse: BootSynapse, refresh_s: float
) -> AsyncIterator[WatchedCity]:
    homeserver_port = free_port()
    proxy = Proxy(homeserver_port)
    await proxy.start()
    settings: dict[str, str | float] = {"homeserver.address": proxy.url, "presence.refresh_s": refresh_s}
    city = await RunningCity.make(
        tmp_path / "city",
        sqlite_url,
        synapse,
        homeserver={"port": homeserver_port},
        settings=settings,
        agents=AGENTS,
    )
    try:
        await city.start()
        yield WatchedCity(city, proxy)
    finally:
        await city.close()
        await proxy.stop()


async def test_a_present_agent_is_told_again_within_every_period_always_with_its_status_text(
    watched: WatchedCity,
) -> None:
    await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: len(watched.told(DAARWIZZ)) >= 4)

    told = watched.told(DAARWIZZ)
    assert [passed.content for passed in told] == [{"presence": "online", "status_msg": "слухаю"}] * len(told)
    times = [passed.at for passed in told]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause < REFRESH_S + LATE_S for pause in pauses), pauses


async def test_heartbeats_that_change_nothing_tell_the_homeserver_nothing(watched: WatchedCity) -> None:
    await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: watched.told(DAARWIZZ))

    first = watched.told(DAARWIZZ)[0].at
    for _ in range(200):
        await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: len(watched.told(DAARWIZZ)) >= 3)

    told = watched.told(DAARWIZZ)
    most = 1 + (told[-1].at - first) / (REFRESH_S * (1 - JITTER) - 0.1)
    assert len(told) <= most, "more than the refreshes"


@pytest.mark.parametrize("refresh_s", [NEVER_S])
async def test_a_heartbeat_that_changes_something_is_told_at_once_and_only_once(watched: WatchedCity) -> None:
    await watched.beat("daarwizz")
    await watched.until(lambda: watched.told(DAARWIZZ))
    await watched.beat("daarwizz", status="away", status_msg="обід")
    await watched.until(lambda: watched.told(DAARWIZZ)[-1].content["presence"] == "unavailable")
    await watched.beat("daarwizz", status="online")
    await watched.until(lambda: watched.told(DAARWIZZ)[-1].content["presence"] == "online")

    assert [passed.content for passed in watched.told(DAARWIZZ)] == [
        {"presence": "online"},
        {"presence": "unavailable", "status_msg": "обід"},
        {"presence": "online", "status_msg": "обід"},
    ]


async def test_after_offline_nothing_more_is_told(watched: WatchedCity) -> None:
    await watched.beat("daarwizz")
    await watched.beat("scribe")
    await watched.until(lambda: watched.told(DAARWIZZ) and watched.told(SCRIBE))
    await watched.beat("daarwizz", status="offline")
    await watched.until(lambda: watched.told(DAARWIZZ)[-1].content["presence"] == "offline")

    so_far = len(watched.proxy.passed)
    # Long enough for a refresh: the other one has had three.
    await watched.until(lambda: len(watched.told(SCRIBE, since=so_far)) >= 3)
    assert watched.told(DAARWIZZ, since=so_far) == []


@pytest.mark.parametrize("refresh_s", [NEVER_S])
async def test_a_homeserver_that_was_started_again_is_told_of_everybody_at_once(watched: WatchedCity) -> None:
    await watched.beat("daarwizz", status_msg="слухаю")
    await watched.beat("scribe", status="away")
    await watched.until(lambda: watched.told(DAARWIZZ) and watched.told(SCRIBE))

    so_far = len(watched.proxy.passed)
    await watched.city.homeserver.restart()

    def told() -> list[list[Passed]]:
        return [watched.told(user, since=so_far) for user in (DAARWIZZ, SCRIBE)]

    await watched.until(lambda: all(told()))
    assert [[passed.content for passed in each] for each in told()] == [
        [{"presence": "online", "status_msg": "слухаю"}],
        [{"presence": "unavailable"}],
    ]
