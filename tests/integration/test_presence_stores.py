"""The presence stores, held to one contract: in memory, in Redis, and in a Redis cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.ports import PresenceStore
from daarion_appservice.city.presence import KEEP, MAX_SESSIONS, Heartbeat, PresenceState, RemotePresence, Status
from daarion_appservice.city.types import SubjectId
from daarion_appservice.realtime.presence_memory import MemoryPresence
from daarion_appservice.realtime.presence_redis import RedisPresence
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.redis_sessions import RedisSessions
from tests.parts.redis import RedisServer

ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE
OKSANA = SubjectId("u_123")
ALICE = SubjectId("@alice:city.localhost")
SCRIBE = SubjectId("agent:писар")
TTL_MS = 40_000
STEP_MS = 2_500


@dataclass
class StoreHarness:
    """A store, its clock, and what it published."""

    store: PresenceStore
    now: list[int]
    events: list[Any]
    _expire: Callable[[], Awaitable[Any]]
    published: list[str] = field(default_factory=list)

    async def pass_time(self, ms: int) -> None:
        """In steps: a longer time without an expiry counts as a suspended process."""
        for start in range(0, ms, STEP_MS):
            self.now[0] += min(STEP_MS, ms - start)
            await self._expire()

    async def record_heartbeat(
        self, subject: SubjectId, status: Status = ONLINE, text: Any = KEEP, session: str = ""
    ) -> PresenceState:
        (shown,) = await self.store.record_heartbeat([Heartbeat(subject, status, text, session)])
        return shown

    async def set_remote(self, subject: SubjectId, shown: PresenceState) -> None:
        await self.store.set_remote([RemotePresence(subject, shown, "matrix")])

    async def changes(self, number: int) -> list[tuple[str, str, str]]:
        """All that changed so far, once there are as many; what is published is published once."""
        async with asyncio.timeout(60):
            while len(found := [event for event in self.events if isinstance(event, PresenceChanged)]) < number:
                await asyncio.sleep(0.005)
        seqs = [event.seq for event in found]
        assert seqs == sorted(set(seqs)), "numbers go up"
        transitions = [event.transition for event in found]
        return [(each.subject, each.before.status.value, each.after.status.value) for each in transitions]


@pytest.fixture(params=["memory", "redis", "cluster"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[StoreHarness]:
    now, events = [1_700_000_000_000], list[Any]()
    if request.param == "memory":
        memory = MemoryPresence(events.append, lambda: now[0], ttl_ms=TTL_MS)

        async def expire() -> None:
            memory.expire()

        yield StoreHarness(memory, now, events, expire)
        return
    server: RedisServer = request.getfixturevalue("redis" if request.param == "redis" else "redis_cluster")
    client = connect(server.url, cluster=request.param == "cluster")
    sessions = RedisSessions(client, name="one", ttl_ms=TTL_MS, now_ms=lambda: now[0])
    store = RedisPresence(sessions, events.append, lambda: now[0], ttl_ms=TTL_MS)
    running = asyncio.create_task(store.run())
    # Redis that is not joined in time counts as gone, and what is said meanwhile is shown by other rules.
    while store.reason is not None:
        await asyncio.sleep(0.005)
    yield StoreHarness(store, now, events, store.expire)
    running.cancel()
    await asyncio.wait([running])
    await client.aclose()


@pytest.mark.parametrize(
    ("sessions", "shown"),
    [
        ([ONLINE], ONLINE),
        ([AWAY], AWAY),
        ([AWAY, ONLINE, AWAY], ONLINE),
        ([AWAY, AWAY], AWAY),
        ([OFFLINE], OFFLINE),
        ([ONLINE, OFFLINE], ONLINE),
    ],
)
async def test_strongest_session_state_is_shown(harness: StoreHarness, sessions: list[Status], shown: Status) -> None:
    beats = [Heartbeat(OKSANA, status, session=str(number)) for number, status in enumerate(sessions)]
    answered = await harness.store.record_heartbeat(beats)
    assert answered[-1].status is harness.store.state(OKSANA).status is shown


async def test_unchanged_heartbeat_publishes_nothing(harness: StoreHarness) -> None:
    assert await harness.record_heartbeat(SCRIBE, text="слухаю") == PresenceState(ONLINE, "слухаю", harness.now[0])
    for text in (KEEP, "слухаю"):
        await harness.pass_time(20_000)
        assert await harness.record_heartbeat(SCRIBE, text=text) == PresenceState(ONLINE, "слухаю", harness.now[0])
    await harness.record_heartbeat(SCRIBE, AWAY, session="another")
    await harness.record_heartbeat(OKSANA)
    assert await harness.changes(2) == [(SCRIBE, "offline", "online"), (OKSANA, "offline", "online")]


async def test_subject_expires_ttl_after_last_heartbeat(harness: StoreHarness) -> None:
    await harness.record_heartbeat(OKSANA)
    await harness.pass_time(20_000)
    await harness.record_heartbeat(OKSANA)
    last_ms = harness.now[0]
    await harness.pass_time(TTL_MS - 1)
    assert harness.store.state(OKSANA).status is ONLINE
    await harness.pass_time(1)
    assert (await harness.changes(2))[1:] == [(OKSANA, "online", "offline")]
    assert harness.store.state(OKSANA) == PresenceState(OFFLINE, None, last_ms)


async def test_weaker_session_is_shown_after_stronger_ends(harness: StoreHarness) -> None:
    await harness.record_heartbeat(OKSANA, text="пишу", session="laptop")
    await harness.pass_time(30_000)
    await harness.record_heartbeat(OKSANA, AWAY, session="phone")
    await harness.pass_time(10_000)
    assert (await harness.changes(2))[1:] == [(OKSANA, "online", "away")]
    shown = harness.store.state(OKSANA)
    assert (shown.status, shown.status_msg, shown.last_active_ms) == (AWAY, "пишу", harness.now[0] - 40_000)


async def test_closed_tab_leaves_other_sessions_online(harness: StoreHarness) -> None:
    for session in ("phone", "laptop"):
        await harness.record_heartbeat(OKSANA, session=session)
    assert (await harness.record_heartbeat(OKSANA, OFFLINE, session="phone")).status is ONLINE
    assert (await harness.record_heartbeat(OKSANA, OFFLINE, "до завтра", session="laptop")).status is OFFLINE
    assert harness.store.state(OKSANA) == PresenceState(OFFLINE, "до завтра", harness.now[0])


@pytest.mark.parametrize(("text", "shown"), [(KEEP, "before"), (None, None), ("", ""), ("after", "after")])
async def test_omitted_status_text_is_kept(harness: StoreHarness, text: Any, shown: str | None) -> None:
    await harness.record_heartbeat(OKSANA, text="before")
    assert (await harness.record_heartbeat(OKSANA, text=text)).status_msg == shown
    assert harness.store.state(OKSANA).status_msg == shown


async def test_being_away_is_no_activity(harness: StoreHarness) -> None:
    await harness.record_heartbeat(OKSANA)
    first_ms = harness.now[0]
    await harness.pass_time(10)
    await harness.record_heartbeat(OKSANA, AWAY)
    await harness.pass_time(10)
    await harness.record_heartbeat(OKSANA, AWAY)
    assert harness.store.state(OKSANA).last_active_ms == first_ms


async def test_remote_presence_lasts_until_changed(harness: StoreHarness) -> None:
    await harness.set_remote(ALICE, PresenceState(ONLINE, "hi", harness.now[0] - 5_000))
    active_ms = harness.now[0] - 5_000
    assert harness.store.state(ALICE) == PresenceState(ONLINE, "hi", active_ms)
    for _ in range(4):
        await harness.pass_time(TTL_MS // 2)
        await harness.set_remote(ALICE, PresenceState(ONLINE, "hi", active_ms - 1))
    assert harness.store.state(ALICE) == PresenceState(ONLINE, "hi", active_ms)
    await harness.set_remote(ALICE, PresenceState())
    assert await harness.changes(2) == [(ALICE, "offline", "online"), (ALICE, "online", "offline")]
    assert harness.store.state(ALICE) == PresenceState(OFFLINE, None, active_ms)


async def test_unknown_subject_cannot_leave(harness: StoreHarness) -> None:
    assert await harness.record_heartbeat(OKSANA, OFFLINE, "bye") == PresenceState()
    await harness.set_remote(ALICE, PresenceState())
    assert harness.store.state(OKSANA) == harness.store.state(ALICE) == PresenceState()
    assert harness.store.state(SubjectId("nobody")) == PresenceState()


async def test_session_limit_replaces_oldest(harness: StoreHarness) -> None:
    await harness.record_heartbeat(OKSANA, session="oldest")
    await harness.store.record_heartbeat(
        [Heartbeat(OKSANA, AWAY, session=str(number)) for number in range(MAX_SESSIONS - 1)]
    )
    assert harness.store.state(OKSANA).status is ONLINE
    assert (await harness.record_heartbeat(OKSANA, AWAY, session="one more")).status is AWAY
    await harness.pass_time(TTL_MS)
    assert (await harness.changes(3))[-1] == (OKSANA, "away", "offline")


async def test_batched_heartbeats_apply_in_order(harness: StoreHarness) -> None:
    beats = [Heartbeat(SubjectId(f"u_{number}")) for number in range(1500)] + [
        Heartbeat(SubjectId("u_7"), AWAY, "later")
    ]
    shown = await harness.store.record_heartbeat(beats)
    assert [each.status for each in shown] == [ONLINE] * 1500 + [AWAY]
    assert (await harness.changes(1501))[-1] == ("u_7", "online", "away")
    await harness.pass_time(TTL_MS)
    await harness.changes(1501 + 1500)
    assert harness.store.state(SubjectId("u_1499")).status is OFFLINE


@pytest.mark.parametrize("name", ["a:b", "4:четверо", "", "\n", "🦉" * 60, "'\"\\{}"])
async def test_any_name_will_do(harness: StoreHarness, name: str) -> None:
    subject = SubjectId(f"u_{name}")
    await harness.record_heartbeat(subject, session=name, text=name)
    # A status text is one line.
    assert harness.store.state(subject) == PresenceState(ONLINE, name.strip(), harness.now[0])
    await harness.pass_time(TTL_MS)
    assert (await harness.changes(2))[1:] == [(subject, "online", "offline")]
