"""Presence updates that a running city sends to Synapse, counted by a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from tests.parts.city import RunningCity, eventually, shared_city
from tests.parts.ghost_presence import NEVER_S
from tests.parts.http_proxy import HttpProxy, Passed
from tests.parts.ports import free_port

DAARWIZZ = "@agent_daarwizz:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
REFRESH_S = 2.0
JITTER = 0.2
LATE_S = 4.0
"""The tolerated delay (s) of a request on a busy machine."""


class WatchedCity:
    """A city whose requests to the homeserver pass a recording proxy."""

    def __init__(self, city: RunningCity, proxy: HttpProxy) -> None:
        self.city = city
        self.proxy = proxy
        self._tokens: dict[str, str] = {}

    async def beat(self, slug: str, **heartbeat: str) -> None:
        if slug not in self._tokens:
            self._tokens[slug] = await self.city.agent_token(slug)
        await self.city.post(f"/api/v1/agents/{slug}/heartbeat", heartbeat, token=self._tokens[slug])

    def updates_of(self, user: str, since: int = 0) -> list[Passed]:
        """Return the presence updates of ``user``, oldest first, without the first ``since`` requests of all users."""
        return [passed for passed in self.proxy.passed[since:] if passed.is_presence and user in passed.path]

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        async def holds() -> bool:
            return bool(condition())

        await eventually(holds, timeout_s, lambda: "\n".join(self.city.service.last_lines(60)))

    async def empty(self) -> None:
        """Set the agents offline, and clear the recorded requests."""
        for slug, user in (("daarwizz", DAARWIZZ), ("scribe", SCRIBE)):
            if self.updates_of(user):
                await self.beat(slug, status="offline")
                await self.until(lambda user=user: self.updates_of(user)[-1].content == {"presence": "offline"})  # type: ignore[misc]
        self.proxy.passed.clear()


@asynccontextmanager
async def watched_city(directory: Path, refresh_s: float) -> AsyncIterator[WatchedCity]:
    homeserver_port = free_port()
    proxy = HttpProxy(homeserver_port)
    await proxy.start()
    settings: dict[str, str | float] = {
        "homeserver.address": proxy.url,
        "presence.refresh_s": refresh_s,
        "limits.heartbeats": "1000/second",
    }
    try:
        async with shared_city(directory, homeserver={"port": homeserver_port}, settings=settings) as city:
            yield WatchedCity(city, proxy)
    finally:
        await proxy.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refreshing_city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WatchedCity]:
    async with watched_city(tmp_path_factory.mktemp("refreshing"), REFRESH_S) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still_city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WatchedCity]:
    async with watched_city(tmp_path_factory.mktemp("still"), NEVER_S) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def watched(refreshing_city: WatchedCity) -> AsyncIterator[WatchedCity]:
    yield refreshing_city
    await refreshing_city.empty()


@pytest_asyncio.fixture(loop_scope="module")
async def unrefreshed(still_city: WatchedCity) -> AsyncIterator[WatchedCity]:
    yield still_city
    await still_city.empty()


@pytest.mark.asyncio(loop_scope="module")
async def test_present_agent_is_refreshed_with_status_text(
    watched: WatchedCity,
) -> None:
    await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: len(watched.updates_of(DAARWIZZ)) >= 4)

    sent_updates = watched.updates_of(DAARWIZZ)
    assert [passed.content for passed in sent_updates] == [{"presence": "online", "status_msg": "слухаю"}] * len(
        sent_updates
    )
    times = [passed.at for passed in sent_updates]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause < REFRESH_S + LATE_S for pause in pauses), pauses


@pytest.mark.asyncio(loop_scope="module")
async def test_heartbeat_without_change_sends_nothing(watched: WatchedCity) -> None:
    await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: watched.updates_of(DAARWIZZ))

    first = watched.updates_of(DAARWIZZ)[0].at
    for _ in range(200):
        await watched.beat("daarwizz", status_msg="слухаю")
    await watched.until(lambda: len(watched.updates_of(DAARWIZZ)) >= 3)

    sent_updates = watched.updates_of(DAARWIZZ)
    most = 1 + (sent_updates[-1].at - first + LATE_S) / (REFRESH_S * (1 - JITTER))
    assert len(sent_updates) <= most, "more requests than refreshes"


@pytest.mark.asyncio(loop_scope="module")
async def test_change_is_sent_once(unrefreshed: WatchedCity) -> None:
    await unrefreshed.beat("daarwizz")
    await unrefreshed.until(lambda: unrefreshed.updates_of(DAARWIZZ))
    await unrefreshed.beat("daarwizz", status="away", status_msg="обід")
    await unrefreshed.until(lambda: unrefreshed.updates_of(DAARWIZZ)[-1].content["presence"] == "unavailable")
    await unrefreshed.beat("daarwizz", status="online")
    await unrefreshed.until(lambda: unrefreshed.updates_of(DAARWIZZ)[-1].content["presence"] == "online")

    assert [passed.content for passed in unrefreshed.updates_of(DAARWIZZ)] == [
        {"presence": "online"},
        {"presence": "unavailable", "status_msg": "обід"},
        {"presence": "online", "status_msg": "обід"},
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_offline_agent_is_not_refreshed(watched: WatchedCity) -> None:
    await watched.beat("daarwizz")
    await watched.beat("scribe")
    await watched.until(lambda: watched.updates_of(DAARWIZZ) and watched.updates_of(SCRIBE))
    await watched.beat("daarwizz", status="offline")
    await watched.until(lambda: watched.updates_of(DAARWIZZ)[-1].content["presence"] == "offline")

    so_far = len(watched.proxy.passed)
    # Long enough for a refresh: the other agent has had three.
    await watched.until(lambda: len(watched.updates_of(SCRIBE, since=so_far)) >= 3)
    assert watched.updates_of(DAARWIZZ, since=so_far) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_restarted_homeserver_gets_every_presence(unrefreshed: WatchedCity) -> None:
    await unrefreshed.beat("daarwizz", status_msg="слухаю")
    await unrefreshed.beat("scribe", status="away")
    await unrefreshed.until(lambda: unrefreshed.updates_of(DAARWIZZ) and unrefreshed.updates_of(SCRIBE))

    so_far = len(unrefreshed.proxy.passed)
    await unrefreshed.city.homeserver.restart()

    def sent_updates() -> list[list[Passed]]:
        return [unrefreshed.updates_of(user, since=so_far) for user in (DAARWIZZ, SCRIBE)]

    await unrefreshed.until(lambda: all(sent_updates()))
    assert [[passed.content for passed in each] for each in sent_updates()] == [
        [{"presence": "online", "status_msg": "слухаю"}],
        [{"presence": "unavailable"}],
    ]
