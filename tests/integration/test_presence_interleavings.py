"""Two processes on one Redis show the same as one state machine, in any interleaving of updates."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.presence import (
    KEEP,
    Heartbeat,
    KeepCurrent,
    Presence,
    PresenceState,
    RemotePresence,
    Status,
    Transition,
)
from daarion_appservice.city.types import SubjectId
from daarion_appservice.realtime import presence_redis
from daarion_appservice.realtime.presence_redis import RedisPresence
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.redis_sessions import _KEYS, RedisSessions
from tests.parts.city import eventually
from tests.parts.redis import RedisServer

TTL_MS = 10_000
LONGEST_STEP_MS = 2_500
"""A longer time without an expiry counts as a suspended process."""
STEPS = 500

BEATING = [SubjectId(name) for name in ("u_1", "agent:писар", "2:u_1", "u_{3}")]
PLACED = SubjectId("@alice:city.localhost")
SESSIONS = ("", "tab", "2:u")
TEXTS: tuple[str | KeepCurrent | None, ...] = (KEEP, KEEP, None, "", "пишу")

Look = tuple[Status, str | None]


@dataclass
class TwoStores:
    """Two stores, their common clock, and a state machine that receives the same updates."""

    stores: list[RedisPresence]
    published: list[list[PresenceChanged]]
    now: list[int]
    redis: Any
    machine: Presence = field(default_factory=lambda: Presence(ttl_ms=TTL_MS))
    placed: dict[SubjectId, RemotePresence] = field(default_factory=dict)

    async def record_heartbeats(self, each_ones: list[list[Heartbeat]]) -> list[Transition]:
        """Record the heartbeats of each store, all stores concurrently."""
        answers = await asyncio.gather(
            *(store.record_heartbeat(beats) for store, beats in zip(self.stores, each_ones, strict=True))
        )
        changes = []
        for beats, shown in zip(each_ones, answers, strict=True):
            for beat, answer in zip(beats, shown, strict=True):
                changes.append(
                    self.machine.record_heartbeat(
                        beat.subject,
                        now_ms=self.now[0],
                        status=beat.status,
                        status_msg=beat.status_msg,
                        session=beat.session,
                    )
                )
                expected = self.machine.state(beat.subject)
                assert (answer.status, answer.status_msg) == (expected.status, expected.status_msg)
        return [change for change in changes if change]

    async def set_remote(self, store: RedisPresence, placed: RemotePresence) -> list[Transition]:
        self.placed[placed.subject] = placed
        await store.set_remote([placed])
        shown = placed.state
        change = self.machine.set_remote(
            placed.subject,
            status=shown.status,
            status_msg=shown.status_msg,
            last_active_ms=shown.last_active_ms,
            session=placed.session,
        )
        return [change] if change else []

    async def pass_time(self, store: RedisPresence, ms: int) -> list[Transition]:
        self.now[0] += ms
        await store.expire()
        changes = self.machine.expire(now_ms=self.now[0])
        for placed in self.placed.values():  # holds as long as it is said again
            changes += await self.set_remote(store, placed)
        return changes

    async def expect_same_state(self) -> None:
        """Wait until both stores have every change, and check that they show what the state machine shows."""

        async def have_heard() -> bool:
            newest = int(await self.redis.hget(_KEYS[3], "seq"))
            return all(store.seq == newest for store in self.stores)

        await eventually(have_heard)
        for subject in (*BEATING, PLACED):
            expected = self.machine.state(subject)
            for store in self.stores:
                shown = store.state(subject)
                assert (shown.status, shown.status_msg) == (expected.status, expected.status_msg), subject
        for subject in BEATING:
            active_ms = [store.state(subject).last_active_ms or 0 for store in self.stores]
            assert max(active_ms) == (self.machine.state(subject).last_active_ms or 0), subject

    def transitions_since(self, number: int) -> list[Transition]:
        """Check that both stores published the same transitions with the same numbers; return them."""
        one, other = (
            [(event.seq, _looks(event.transition)) for event in published[number:]] for published in self.published
        )
        assert one == other
        return [event.transition for event in self.published[0][number:]]


def _looks(change: Transition) -> tuple[SubjectId, Look, Look]:
    before, after = change.before, change.after
    return change.subject, (before.status, before.status_msg), (after.status, after.status_msg)


def _in_all(changes: list[Transition]) -> dict[SubjectId, tuple[Look, Look]]:
    """Return first and last state of each subject; sessions that end together may end in any order."""
    went: dict[SubjectId, tuple[Look, Look]] = {}
    for subject, before, after in map(_looks, changes):
        first, last = went.get(subject, (before, before))
        assert last == before
        went[subject] = first, after
    return went


@pytest.fixture
async def two_stores(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TwoStores]:
    # What a process reads of the activity in others includes heartbeats as away, which the state machine does not count.
    monkeypatch.setattr(presence_redis, "_ACTIVITY_PERIOD_S", 3600.0)
    now = [1_700_000_000_000]
    clients = [connect(redis.url, cluster=False) for _ in range(3)]
    stores, published, running = [], [], []
    for name, client in zip(("one", "other"), clients, strict=False):
        events: list[Any] = []
        sessions = RedisSessions(client, name=name, ttl_ms=TTL_MS, now_ms=lambda: now[0])
        store = RedisPresence(sessions, events.append, lambda: now[0], ttl_ms=TTL_MS)
        stores.append(store)
        published.append(events)
        running.append(asyncio.create_task(store.run()))

    async def are_connected() -> bool:
        newest = await clients[2].hget(_KEYS[3], "seq")
        return all(store.reason is None and str(store.seq) == newest for store in stores)

    await eventually(are_connected)
    for events in published:
        events.clear()
    yield TwoStores(stores, published, now, clients[2])
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_two_processes_match_one_in_any_order(two_stores: TwoStores, seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(STEPS):
        number = len(two_stores.published[0])
        match choose.choice(("beat", "beat", "place", "time")):
            case "beat":
                changes = await two_stores.record_heartbeats(_beats(choose))
            case "place":
                changes = await two_stores.set_remote(
                    choose.choice(two_stores.stores), _placed(choose, two_stores.now[0])
                )
            case _:
                ms = choose.choice((1, 500, LONGEST_STEP_MS))
                changes = await two_stores.pass_time(choose.choice(two_stores.stores), ms)
        await two_stores.expect_same_state()
        assert _in_all(two_stores.transitions_since(number)) == _in_all(changes)


def _beats(choose: random.Random) -> list[list[Heartbeat]]:
    """Choose heartbeats for each store, with different subjects, so that their order has no effect."""
    subjects = choose.sample(BEATING, len(BEATING))
    middle = choose.randint(0, len(subjects))
    return [
        [
            Heartbeat(subject, choose.choice(list(Status)), choose.choice(TEXTS), choose.choice(SESSIONS))
            for subject in choose.choices(own, k=choose.randint(1, 4))
        ]
        if own
        else []
        for own in (subjects[:middle], subjects[middle:])
    ]


def _placed(choose: random.Random, now_ms: int) -> RemotePresence:
    status = choose.choice(list(Status))
    return RemotePresence(
        PLACED, PresenceState(status, choose.choice((None, "hi")), choose.choice((None, now_ms - 5))), "matrix"
    )
