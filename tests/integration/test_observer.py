"""The observer when the homeserver is lost, refuses requests, or sends invalid responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.events import CityEvent, MembershipChanged, TypingChanged
from daarion_appservice.city.member_log import MemberLog
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import MatrixRoomId, UserId, user_subject
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profiles import Profiles
from daarion_appservice.matrix.presence import observer as observer_module
from daarion_appservice.matrix.presence.observer import Observer
from daarion_appservice.matrix.presence.observer_coverage import ObserverCoverage
from daarion_appservice.matrix.presence.typing import RemoteTyping
from daarion_appservice.matrix.presence.user_presence import UserPresence
from daarion_appservice.realtime.presence_memory import MemoryPresence
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver, refused

ALICE, GENERAL, MATRIX_ROOM = UserId("@alice:city.localhost"), room_id_of("general"), MatrixRoomId("!general")


def sync(since: str, *typing: UserId) -> Reply:
    ephemeral = {"events": [{"type": "m.typing", "content": {"user_ids": typing}}]}
    rooms: dict[str, Any] = {"join": {MATRIX_ROOM: {"ephemeral": ephemeral}}}
    return Reply(200, {"next_batch": since, "rooms": rooms})


@pytest.fixture
async def database(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Database]:
    database = Database(sqlite_url)
    yield database
    await database.close()


@asynccontextmanager
async def observing(
    homeserver: ScriptedHomeserver,
    database: Database,
    published: list[CityEvent],
    observer_coverage: ObserverCoverage | None = None,
) -> AsyncIterator[HomeserverMonitor]:
    client, online_members = Homeserver(homeserver.url, "token"), OnlineMembers()
    monitor, members = HomeserverMonitor(client, "daarion"), MemberLog(IDENTITIES, now_ms, new_id)
    ghosts = Ghosts(
        client,
        database,
        IDENTITIES,
        members,
        online_members,
        published.append,
        DrawnAvatars(client, database, IDENTITIES.bot),
        Profiles("City"),
    )
    people = UserPresence(
        MemoryPresence(published.append, steady_ms, ttl_ms=60_000), IDENTITIES, steady_ms, is_member=lambda _: True
    )
    typing = RemoteTyping(IDENTITIES, published.append)
    observer = Observer(
        client,
        monitor,
        ghosts,
        IDENTITIES,
        people,
        observer_coverage or ObserverCoverage(online_members),
        typing,
        lambda _: None,
        republish_s=600,
    )
    monitor.mark_up()
    await observer.observe({MATRIX_ROOM: GENERAL})
    running = asyncio.create_task(observer.run())
    # ``run`` first drops the rooms of an earlier run.
    await asyncio.sleep(0)
    await observer.observe({MATRIX_ROOM: GENERAL})
    try:
        yield monitor
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


async def test_loss_by_another_request_ends_typing(database: Database) -> None:
    homeserver, published = ScriptedHomeserver(), list[CityEvent]()

    def typing() -> list[set[str]]:
        return [set(each.typing) for each in published if isinstance(each, TypingChanged)]

    async with homeserver.serving():
        homeserver.next("sync", sync("s1"))
        answer = homeserver.hold("sync", sync("s2", ALICE))
        async with observing(homeserver, database, published) as monitor:

            async def polls() -> bool:
                return len(homeserver.all("sync")) == 2

            await eventually(polls)
            monitor.report_unavailable(HomeserverUnavailable("refused"))
            answer.set()

            async def nobody_types() -> bool:
                return typing() == [{ALICE}, set()]

            await eventually(nobody_types, explain=lambda: str(typing()))


async def test_unreadable_sync_is_repeated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_module, "_REFUSED_PAUSE_S", 0)
    homeserver, published = ScriptedHomeserver(), list[CityEvent]()
    async with homeserver.serving():
        homeserver.next("sync", Reply(200, {"next_batch": "s1", "rooms": {"join": {MATRIX_ROOM: 7}}}))
        homeserver.next("sync", Reply(200, {"next_batch": "s1", "presence": []}), sync("s2", ALICE))
        homeserver.hold("sync")
        async with observing(homeserver, database, published):

            async def alice_types() -> bool:
                return any(isinstance(each, TypingChanged) and user_subject(ALICE) in each.typing for each in published)

            await eventually(alice_types, explain=lambda: str(published))


async def test_refused_sync_is_logged_with_its_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_module, "_REFUSED_PAUSE_S", 0)
    homeserver = ScriptedHomeserver()

    async def polled_three_times() -> bool:
        return len(homeserver.all("sync")) == 3

    async with homeserver.serving():
        homeserver.next("sync", refused(403, "M_FORBIDDEN"), sync("s1"))
        homeserver.hold("sync")
        with capture_logs() as logs:
            async with observing(homeserver, database, []):
                await eventually(polled_three_times)
    assert [line["event"] for line in logs if "observer" in line["event"]] == ["observer_refused", "observer_back"]


@pytest.mark.parametrize("answer", [refused(400, "M_INVALID_PARAM"), refused(404, "M_NOT_FOUND")])
async def test_refused_presence_delays_no_other_user(database: Database, answer: Reply) -> None:
    homeserver, observer_coverage = ScriptedHomeserver(), ObserverCoverage(OnlineMembers(), settle_s=0)
    users = [UserId(f"@u{number}:city.localhost") for number in range(3)]
    async with homeserver.serving():
        homeserver.next("sync", sync("s1"))
        homeserver.hold("sync")
        homeserver.next("presence_of", answer)
        async with observing(homeserver, database, [], observer_coverage):

            async def polls() -> bool:
                return len(homeserver.all("sync")) == 2

            await eventually(polls)
            for user in users:
                observer_coverage.on_membership_changed(MembershipChanged(GENERAL, user_subject(user), joined=True))

            async def all_are_requested() -> bool:
                return [request.path["user"] for request in homeserver.all("presence_of")] == users

            await eventually(all_are_requested, explain=lambda: str(homeserver.all("presence_of")))
