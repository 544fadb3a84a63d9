"""The presence sender with a real Synapse: the requests it makes, counted by a proxy, and the presence that results."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from daarion_appservice.city.presence import Status
from daarion_appservice.city.types import UserId
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.errors import HomeserverRateLimited
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.ghosts.profile_fields import STATUS_FIELD as FIELD
from daarion_appservice.matrix.presence import sender
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.city import RunningCity, eventually, shared_city
from tests.parts.ghost_presence import GhostHomeserver, GhostPresenceHarness, ghost_homeserver, is_about
from tests.parts.http_proxy import HttpProxy, Passed
from tests.parts.ports import free_port
from tests.parts.synapse import boot

DAARWIZZ = "@agent_daarwizz:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
REFRESH_S = 2.0
NEVER_S = 600.0
"""A refresh period (s) longer than a test."""
JITTER = 0.2
LATE_S = 1.0
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
    most = 1 + (sent_updates[-1].at - first) / (REFRESH_S * (1 - JITTER) - 0.1)
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


# --- the sender alone, on a homeserver with a few ghosts ----------------------------------------------

ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE
LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 300}


@pytest.fixture(scope="module")
def shared_homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GhostHomeserver]:
    shared_homeserver = asyncio.run(_boot_shared(tmp_path_factory.mktemp("shared_homeserver")))
    yield shared_homeserver
    shared_homeserver.homeserver.kill()


async def _boot_shared(directory: Path, overrides: Mapping[str, object] | None = None) -> GhostHomeserver:
    async def boot_here(**options: Any) -> LocalSynapse:
        return await boot(directory / "synapse", **options)

    return await ghost_homeserver(directory, boot_here, overrides)


@pytest.fixture
async def harness(tmp_path: Path, shared_homeserver: GhostHomeserver) -> AsyncIterator[GhostPresenceHarness]:
    """Four ghosts, whose presence is not refreshed during a test."""
    async with shared_homeserver.harness(tmp_path, ghosts=4, refresh_s=NEVER_S) as harness:
        yield harness


async def until_presence(harness: GhostPresenceHarness, *expected: str) -> None:
    """Wait until the homeserver has these presences of the first ghosts."""

    async def is_so() -> bool:
        return [await harness.presence(number) for number in range(len(expected))] == list(expected)

    await eventually(is_so)


async def until(condition: Callable[[], object]) -> None:
    async def holds() -> bool:
        return bool(condition())

    await eventually(holds)


async def test_restarted_sender_sends_every_presence(
    harness: GhostPresenceHarness,
) -> None:
    for number in range(3):
        harness.change(number, ONLINE)
    async with harness.running_sender():
        await until_presence(harness, "online", "online", "online")

    harness.change(0, OFFLINE)
    harness.change(1, AWAY)
    harness.change(1, OFFLINE)
    harness.change(1, AWAY, "обід")
    so_far = len(harness.proxy.passed)
    async with harness.running_sender():
        await until_presence(harness, "offline", "unavailable", "online")
        await until(lambda: len(harness.proxy.passed) >= so_far + 3)
    sent_updates = [passed for passed in harness.proxy.passed[so_far:] if passed.is_presence and passed.method == "PUT"]
    assert sorted(str(passed.content["presence"]) for passed in sent_updates) == ["offline", "online", "unavailable"]


async def test_stop_sets_every_ghost_offline(harness: GhostPresenceHarness) -> None:
    for number in range(4):
        harness.change(number, ONLINE, "слухаю")
    async with harness.running_sender():
        await until_presence(harness, *["online"] * 4)
        harness.change(0, AWAY)
    await harness.presence_sender.stop()
    await until_presence(harness, *["offline"] * 4)


async def test_away_ghost_is_away_again_after_message(
    harness: GhostPresenceHarness,
) -> None:
    harness.change(0, AWAY, "обід")
    harness.change(1, ONLINE)
    async with harness.running_sender():
        await until_presence(harness, "unavailable", "online")
        harness.change(1, OFFLINE)
        await until_presence(harness, "unavailable", "offline")

        for number in range(3):
            await harness.say(number, "я ще тут")
        # Synapse sets an away ghost online, and leaves offline ones.
        await until_presence(harness, "online", "offline", "offline")
        for number in range(3):
            harness.presence_sender.on_message_sent(harness.ghost(number))
        await until_presence(harness, "unavailable", "offline", "offline")
        await until(lambda: len(harness.sent_presences(harness.ghost(0))) >= 2)
    assert {content["status_msg"] for content in harness.sent_presences(harness.ghost(0))} == {"обід"}, (
        "each update has the status text"
    )
    assert harness.sent_presences(harness.ghost(1))[-1] == {"presence": "offline"}
    assert harness.sent_presences(harness.ghost(2)) == []


async def test_profile_has_current_status_text(harness: GhostPresenceHarness) -> None:
    async def until_text(number: int, text: str | None) -> None:
        async def is_so() -> bool:
            stands = (await harness.profile(number)).get(FIELD) == ({"text": text} if text else None)
            return stands and harness.ghosts.status_text(harness.ghost(number)) == text

        await eventually(is_so)

    def changes() -> list[tuple[str, str]]:
        return [(passed.method, passed.path) for passed in harness.proxy.passed if passed.path.endswith(FIELD)]

    harness.change(0, ONLINE, "слухаю")
    harness.change(1, AWAY, "обід")
    harness.change(2, ONLINE)
    async with harness.running_sender():
        await until_text(0, "слухаю")
        await until_text(1, "обід")
        assert len(changes()) == 2
    async with harness.running_sender():
        await until(lambda: len(harness.sent_presences()) == 6)
        harness.change(0, ONLINE)
        await until_text(0, None)
        harness.change(1, OFFLINE)
        await until_text(1, None)
        harness.change(3, ONLINE, "читаю")
        await until_text(3, "читаю")
    assert [method for method, _ in changes()] == ["PUT", "PUT", "DELETE", "DELETE", "PUT"]
    await harness.ghosts.load()
    assert [harness.ghosts.status_text(harness.ghost(number)) for number in range(4)] == [None, None, None, "читаю"]


async def test_outdated_status_text_is_removed_after_start(
    harness: GhostPresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        harness.change(number, ONLINE, "слухаю")
    async with harness.running_sender():
        await until(lambda: all(harness.ghosts.status_text(harness.ghost(number)) for number in range(2)))

    monkeypatch.setattr(sender, "_SETTLED_S", 0.1)
    harness.presence_sender = harness.new_sender()
    harness.change(1, ONLINE, "слухаю")
    async with harness.running_sender():
        await until(lambda: harness.ghosts.status_text(harness.ghost(0)) is None)
    assert FIELD not in await harness.profile(0)
    assert FIELD in await harness.profile(1)


async def test_unsupported_profile_field_is_not_written(
    harness: GhostPresenceHarness,
) -> None:
    capabilities = {"capabilities": {"m.profile_fields": {"enabled": True, "disallowed": [FIELD]}}}
    harness.proxy.answer(lambda passed: passed.path.endswith("/capabilities"), 200, capabilities)
    async with harness.running_sender():
        for number in range(4):
            harness.change(number, ONLINE, "слухаю")
        await until(lambda: len(harness.sent_presences()) == 4 and harness.proxy.answered)
        harness.change(0, ONLINE, "читаю")
        await until(lambda: len(harness.sent_presences()) == 5)
    assert len(harness.proxy.answered) == 1
    assert [passed for passed in harness.proxy.passed if FIELD in passed.path] == []


async def test_429_pauses_requests_for_retry_delay(harness: GhostPresenceHarness) -> None:
    def refused(number: int) -> list[Passed]:
        return [each for each in harness.proxy.answered if str(harness.ghost(number)) in each.path]

    async with harness.running_sender():
        harness.proxy.answer(is_about, 429, LIMITED)
        harness.change(0, ONLINE)
        await until(lambda: harness.proxy.answered)
        harness.change(1, ONLINE)
        await until(lambda: all(len(refused(number)) >= 3 for number in range(2)))
        harness.proxy.pass_everything()
        await until_presence(harness, "online", "online")
    # One request of each ghost may be under way before the mirror has read the other's 429; none is repeated before the time.
    for number in range(2):
        assert all(later.at - earlier.at >= 0.3 for earlier, later in pairwise(refused(number)))


async def test_slow_homeserver_is_logged_once_and_delays_no_change(
    harness: GhostPresenceHarness,
) -> None:
    for number in range(3):
        harness.change(number, ONLINE)
    with capture_logs() as logs:
        async with harness.running_sender():
            await until(lambda: len(harness.sent_presences()) >= 3)
            harness.presence_sender._set_period(5)  # nothing in the world is fast enough for that
            await until(lambda: len(harness.sent_presences()) >= 100)
            so_far = len(harness.sent_presences())
            harness.change(3, AWAY)
            await until(lambda: harness.sent_presences(harness.ghost(3)))
            await until(lambda: len(harness.sent_presences()) >= so_far + 100)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["presence_too_slow"]
    before_it = harness.sent_presences()[so_far:].index({"presence": "unavailable"})
    assert before_it <= 10, "one alternation, and the requests in flight"


@pytest.mark.parametrize(
    ("content", "after_ms"),
    [
        (LIMITED, 300),
        pytest.param(LIMITED | {"retry_after_ms": "soon"}, 1_000, marks=pytest.mark.soak),
        (["what?"], 1_000),
    ],
)
async def test_retry_delay_is_read_from_429(harness: GhostPresenceHarness, content: Any, after_ms: int) -> None:
    harness.proxy.answer(lambda _: True, 429, content)
    client = Homeserver(harness.proxy.url, "any token")
    with pytest.raises(HomeserverRateLimited) as refusal:
        await client.versions()
    await client.close()
    assert (refusal.value.status, refusal.value.retry_after_ms) == (429, after_ms)


async def test_restart_hidden_from_probes_is_noticed(
    harness: GhostPresenceHarness,
) -> None:
    async with harness.observing(), harness.running_sender():
        harness.change(0, ONLINE)
        await until(lambda: len(harness.sent_presences()) == 1)
        harness.proxy.wait_for_target(lambda passed: passed.path.endswith("/versions"))
        harness.homeserver.kill()
        await harness.homeserver.start()
        await until(lambda: len(harness.sent_presences()) == 2)
    assert harness.monitor.absences == 1


async def test_timeouts_and_status_texts_are_stored(database_url: str) -> None:
    database = Database(database_url)
    await migrate.upgrade(database)
    long_name = "Synapse/1.163.2 (b=matrix-org-hotfixes,4d1e8a9c)" * 2
    for software, held_ms in (("Synapse/1.163.2", 33_000), ("", 1), (long_name, 2), ("Synapse/1.163.2", 90_000)):
        async with database.transaction() as tx:
            await tx.key_values.put_presence_timeout_ms(software, held_ms)
    ghost = Ghost(UserId(DAARWIZZ), "DAARWIZZ", status_text="слухаю")
    async with database.transaction() as tx:
        await tx.ghosts.put(Ghost(UserId(DAARWIZZ), "DAARWIZZ"))
        await tx.ghosts.put(ghost)
    async with database.read_only() as tx:
        held = [
            await tx.key_values.presence_timeout_ms(software)
            for software in ("Synapse/1.163.2", "", long_name, "another")
        ]
        assert held == [90_000, 1, 2, None]
        assert await tx.ghosts.all() == [ghost]
    await database.close()


# --- with the Synapse module --------------------------------------------------------------------------

MODULE = Path(__file__).parents[2] / "synapse_module"
MODULE_TIMEOUT_S = 5
"""The timeout (s) of the module after the last request."""


@pytest.fixture(scope="module")
def homeserver_with_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GhostHomeserver]:
    modules = [{"module": "daarion_synapse_module.DaarionPresence", "config": {"timeout_s": MODULE_TIMEOUT_S}}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(MODULE))
        shared_homeserver = asyncio.run(
            _boot_shared(tmp_path_factory.mktemp("shared_homeserver-with-module"), {"modules": modules})
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

        await eventually(lambda: asyncio.sleep(0, has_renewed_beyond_timeout()), 60)
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
