"""The presence sender with a few ghosts on a real Synapse: requests, retries, status texts and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.types import UserId
from daarion_appservice.errors import HomeserverRateLimited
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.ghosts.profile_fields import STATUS_FIELD as FIELD
from daarion_appservice.matrix.presence import sender
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.city import eventually
from tests.parts.ghost_presence import (
    AWAY,
    LIMITED,
    NEVER_S,
    OFFLINE,
    ONLINE,
    GhostHomeserver,
    GhostPresenceHarness,
    boot_shared_homeserver,
    is_about,
    until,
    until_presence,
)
from tests.parts.http_proxy import Passed
from tests.parts.metrics import Moves

GHOST = "@agent_daarwizz:city.localhost"


@pytest.fixture(scope="module")
def shared_homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GhostHomeserver]:
    shared_homeserver = asyncio.run(boot_shared_homeserver(tmp_path_factory.mktemp("shared_homeserver")))
    yield shared_homeserver
    shared_homeserver.homeserver.kill()


@pytest.fixture
async def harness(tmp_path: Path, shared_homeserver: GhostHomeserver) -> AsyncIterator[GhostPresenceHarness]:
    """Four ghosts, whose presence is not refreshed during a test."""
    async with shared_homeserver.harness(tmp_path, ghosts=4, refresh_s=NEVER_S) as harness:
        yield harness


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
    # On a busy machine a refresh may follow.
    last = {passed.path: passed.content["presence"] for passed in sent_updates}
    assert sorted(map(str, last.values())) == ["offline", "online", "unavailable"]


async def test_stop_sets_every_ghost_offline(harness: GhostPresenceHarness) -> None:
    for number in range(4):
        harness.change(number, ONLINE, "слухаю")
    moves = Moves()
    async with harness.running_sender():
        await until_presence(harness, *["online"] * 4)
        harness.change(0, AWAY)
        await until(lambda: moves.of("daarion_presence_delay_seconds_count") == 1)
    assert moves.of("daarion_presence_updates_total", result="accepted") >= 5
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


async def test_slow_homeserver_is_logged_once(
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
    ghost = Ghost(UserId(GHOST), "DAARWIZZ", status_text="слухаю")
    async with database.transaction() as tx:
        await tx.ghosts.put(Ghost(UserId(GHOST), "DAARWIZZ"))
        await tx.ghosts.put(ghost)
    async with database.read_only() as tx:
        held = [
            await tx.key_values.presence_timeout_ms(software)
            for software in ("Synapse/1.163.2", "", long_name, "another")
        ]
        assert held == [90_000, 1, 2, None]
        assert await tx.ghosts.all() == [ghost]
    await database.close()
