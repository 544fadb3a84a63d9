"""Presence of several processes with one Redis: one state in all, also across outages of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.city.events import PresenceChanged, PresenceRenumbered
from daarion_appservice.city.presence import Heartbeat, PresenceState, RemotePresence, Status
from daarion_appservice.city.types import SubjectId
from daarion_appservice.clock import now_ms
from daarion_appservice.realtime import presence_redis as redis_presence_module
from daarion_appservice.realtime import redis_client
from daarion_appservice.realtime.presence_stream import PresenceStream
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.redis_sessions import _KEYS, BATCH, RedisSessions, SessionUpdate, SessionUpdateResult
from tests.parts.city import eventually
from tests.parts.presence_replica import TTL_MS, Replica, back, gone
from tests.parts.redis import RedisServer

ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE
OKSANA = SubjectId("u_123")
ALICE = SubjectId("@alice:city.localhost")
SCRIBE = SubjectId("agent:писар")


StartReplica = Callable[..., Awaitable[Replica]]
StartRedis = Callable[..., RedisServer]


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """Starts a Redis that the test may kill and start again."""
    with ExitStack() as stack:

        def start(*, keep: bool = False) -> RedisServer:
            server = RedisServer(tmp_path / "redis", keep=keep)
            stack.callback(server.kill)
            server.start()
            return server

        yield start


@pytest.fixture
async def start_replica(start_redis: StartRedis) -> AsyncIterator[StartReplica]:
    async with AsyncExitStack() as stack:

        async def start(server: RedisServer, ttl_ms: int = TTL_MS) -> Replica:
            replica = await Replica.start(server, ttl_ms)
            stack.push_async_callback(replica.stop)
            return replica

        yield start


@pytest.fixture
async def replicas(redis: RedisServer, start_replica: StartReplica) -> list[Replica]:
    return [await start_replica(redis) for _ in range(2)]


async def test_two_processes_publish_each_change_once(replicas: list[Replica]) -> None:
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA), Heartbeat(SCRIBE, AWAY, "думаю")])
    await other.store.record_heartbeat([Heartbeat(OKSANA)])
    await other.store.record_heartbeat([Heartbeat(SCRIBE, ONLINE)])
    await one.shows(SCRIBE, ONLINE)
    await one.store.record_heartbeat([Heartbeat(OKSANA, OFFLINE)])
    await other.shows(OKSANA, OFFLINE)
    assert (
        one.published_states()
        == other.published_states()
        == [
            (OKSANA, "online"),
            (SCRIBE, "away"),
            (SCRIBE, "online"),
            (OKSANA, "offline"),
        ]
    )
    numbers = [[event.seq for event in each.events if isinstance(event, PresenceChanged)] for each in replicas]
    assert numbers[0] == numbers[1], "both give the same change the same number"


async def test_late_process_loads_presence(
    replicas: list[Replica], redis: RedisServer, start_replica: StartReplica
) -> None:
    await replicas[0].store.record_heartbeat([Heartbeat(SCRIBE, AWAY, "думаю")])
    late = await start_replica(redis)
    await late.shows(SCRIBE, AWAY)
    assert late.store.state(SCRIBE).status_msg == "думаю"
    assert isinstance(late.events[0], PresenceRenumbered)


async def test_session_is_shared_between_processes(replicas: list[Replica]) -> None:
    """A client that is sent here and there by a load balancer is one client."""
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA, ONLINE, session="tab")])
    await other.store.record_heartbeat([Heartbeat(OKSANA, AWAY, session="tab")])
    assert other.store.state(OKSANA).status is AWAY
    await other.store.record_heartbeat([Heartbeat(OKSANA, OFFLINE, session="tab")])
    await one.shows(OKSANA, OFFLINE)


async def test_redis_keys_show_presence(replicas: list[Replica], redis: RedisServer) -> None:
    client = connect(redis.url, cluster=False)
    await replicas[0].store.record_heartbeat([Heartbeat(OKSANA), Heartbeat(SCRIBE, AWAY)])
    keys = [f"presence:{subject}" for subject in (OKSANA, SCRIBE, ALICE)]
    assert await client.mget(keys) == ["online", "away", None]
    for key in keys[:2]:
        assert TTL_MS - 5_000 < await client.pttl(key) <= TTL_MS
    await replicas[1].store.record_heartbeat([Heartbeat(OKSANA, AWAY), Heartbeat(SCRIBE, OFFLINE)])
    assert await client.mget(keys) == ["away", None, None]
    await replicas[1].store.record_heartbeat([Heartbeat(OKSANA, ONLINE, session="tab")])
    await replicas[0].store.record_heartbeat([Heartbeat(OKSANA, OFFLINE, session="tab")])
    assert await client.mget(keys) == ["away", None, None], "the weaker session goes on"
    await client.aclose()


async def test_activity_of_other_process_is_read(replicas: list[Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA)])
    await other.shows(OKSANA, ONLINE)
    first_ms = other.store.state(OKSANA).last_active_ms
    assert first_ms is not None
    await asyncio.sleep(0.05)
    await one.store.record_heartbeat([Heartbeat(OKSANA)])

    async def is_learnt() -> bool:
        return (other.store.state(OKSANA).last_active_ms or 0) > first_ms

    await eventually(is_learnt)


@pytest.mark.parametrize("forgets", [True, False], ids=["forgets", "remembers"])
async def test_redis_outage_keeps_sessions_online(
    start_redis: StartRedis, start_replica: StartReplica, forgets: bool
) -> None:
    server = start_redis(keep=not forgets)
    one, other = [await start_replica(server, ttl_ms=4_000) for _ in range(2)]
    stays, comes, leaves = OKSANA, SCRIBE, SubjectId("u_7")
    await one.store.record_heartbeat([Heartbeat(stays), Heartbeat(leaves)])
    await other.shows(leaves, ONLINE)

    server.kill()
    for replica in (one, other):
        await gone(replica)
    (shown,) = await one.store.record_heartbeat([Heartbeat(comes, AWAY, "нове")])
    assert shown == PresenceState(AWAY, "нове", None)
    for _ in range(6):  # half as long again as anybody lives
        await one.store.record_heartbeat([Heartbeat(stays), Heartbeat(comes, AWAY)])
        await asyncio.sleep(1)
    told_alone = [each.published_states() for each in (one, other)]
    one.keep_beating(Heartbeat(stays), Heartbeat(comes, AWAY))
    server.start()

    for replica in (one, other):
        await back(replica)
        await replica.shows(comes, AWAY)
        assert replica.store.state(comes).status_msg == "нове"
    for replica, before in zip((one, other), told_alone, strict=True):
        await replica.shows(leaves, OFFLINE)
        after = replica.published_states()[len(before) :]
        assert (leaves, "offline") in after
        assert [change for change in after if change[0] != leaves] in ([], [(comes, "away")]), "nobody flapped"


@pytest.mark.parametrize("redis_timeout_s", [redis_client.TIMEOUT_S])
async def test_frozen_redis_keeps_sessions_online(redis: RedisServer, start_replica: StartReplica) -> None:
    one, other = [await start_replica(redis, ttl_ms=4_000) for _ in range(2)]
    one.keep_beating(Heartbeat(OKSANA))
    await other.shows(OKSANA, ONLINE)
    redis.freeze()
    for replica in (one, other):
        await gone(replica)
    await asyncio.sleep(5)
    redis.thaw()
    for replica in (one, other):
        await back(replica)
    await asyncio.sleep(1)
    assert one.published_states() == other.published_states() == [(OKSANA, "online")]


async def test_changes_that_were_missed_are_made_good(replicas: list[Replica], redis: RedisServer) -> None:
    """The stream has a maximum length: a process that was too slow reads the whole state again."""
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA)])
    await other.shows(OKSANA, ONLINE)
    client = connect(redis.url, cluster=False)
    await client.execute_command("EVAL", _CHANGE_AND_FORGET, len(_KEYS), *_KEYS, OKSANA)
    await client.aclose()
    await one.store.record_heartbeat([Heartbeat(SCRIBE)])
    for replica in replicas:
        await replica.shows(OKSANA, AWAY)
        await replica.shows(SCRIBE, ONLINE)


_CHANGE_AND_FORGET = """
local it = cjson.decode(redis.call('HGET', KEYS[1], ARGV[1]))
it.st, it.s[1][2] = 'away', 'away'
it.q = string.format('%.0f', redis.call('HINCRBY', KEYS[4], 'seq', 1))
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(it))
"""


async def test_flushed_redis_gets_presence_again(replicas: list[Replica], redis: RedisServer) -> None:
    """A FLUSHALL leaves the connections as they are, and new numbers begin below those that were read."""
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA), Heartbeat(SCRIBE, AWAY, "думаю")])
    await other.shows(SCRIBE, AWAY)
    client = connect(redis.url, cluster=False)
    await client.flushall()
    await one.store.record_heartbeat([Heartbeat(SubjectId("u_7"))])
    for replica in replicas:
        await replica.shows(SubjectId("u_7"), ONLINE)

    async def is_known_again() -> bool:
        return bool(await client.get(f"presence:{SCRIBE}") == "away")

    await eventually(is_known_again)
    await client.aclose()
    for replica in replicas:
        assert sorted(replica.published_states()) == sorted([(OKSANA, "online"), (SCRIBE, "away"), ("u_7", "online")])


async def test_standalone_numbers_are_unique(replicas: list[Replica], redis: RedisServer) -> None:
    """Otherwise a client that changes the process with such a number would miss the events of the other one."""
    one, other = replicas
    await one.store.record_heartbeat([Heartbeat(OKSANA)])
    await other.shows(OKSANA, ONLINE)
    redis.kill()
    for replica in replicas:
        await gone(replica)
    await one.store.record_heartbeat([Heartbeat(SubjectId("u_1"))])
    await other.store.record_heartbeat([Heartbeat(SubjectId("u_2"))])
    streams = [await _stream_of(replica) for replica in replicas]
    for stream, another in (streams, reversed(streams)):
        assert stream.since(stream.seq) == []
        assert another.since(stream.seq) is None
    for stream in streams:
        stream.close()


async def _stream_of(replica: Replica) -> PresenceStream:
    """The events that the clients of a replica have received."""
    stream = PresenceStream(replica.store.state, now_ms, tick_s=0.001)
    for event in replica.events:
        if isinstance(event, PresenceRenumbered):
            stream.renumber(event)
        else:
            stream.on_presence_changed(event)

    async def is_received() -> bool:
        return stream.seq == replica.store.seq

    await eventually(is_received)
    return stream


async def test_heartbeat_during_restore_is_kept(
    start_redis: StartRedis, start_replica: StartReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the upload of new subjects to Redis and its response with all subjects."""
    server = start_redis()
    replica = await start_replica(server)
    await back(replica)
    server.kill()
    await gone(replica)
    snapshot, late = RedisSessions.snapshot, list[asyncio.Task[list[PresenceState]]]()

    async def slow(sessions: RedisSessions) -> AsyncIterator[tuple[SubjectId, PresenceState, int]]:
        late.append(asyncio.create_task(replica.store.record_heartbeat([Heartbeat(OKSANA)])))
        await asyncio.sleep(0)
        async for each in snapshot(sessions):
            yield each

    monkeypatch.setattr(RedisSessions, "snapshot", slow)
    server.start()
    await back(replica)
    (shown,) = await late[0]
    assert shown.status is ONLINE
    client = connect(server.url, cluster=False)
    assert await client.get(f"presence:{OKSANA}") == "online"
    assert replica.published_states() == [(OKSANA, "online")]
    await client.aclose()


async def test_heartbeat_after_expiry_revives_nothing(replicas: list[Replica], redis: RedisServer) -> None:
    """A process may have been frozen with it for a minute."""
    client = connect(redis.url, cluster=False)
    sessions = RedisSessions(client, name="frozen", ttl_ms=TTL_MS)
    update = SessionUpdate.from_heartbeat(Heartbeat(OKSANA), now_ms() - TTL_MS)
    (answer,) = await sessions.apply([update], [TTL_MS], lambda _: ONLINE)
    assert (answer.status, answer.seq) == (OFFLINE, None)
    assert await client.get(f"presence:{OKSANA}") is None
    await client.aclose()
    await replicas[0].store.record_heartbeat([Heartbeat(SCRIBE)])
    assert replicas[0].published_states() == [(SCRIBE, "online")]


async def test_large_restore_is_sent_in_batches(replicas: list[Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    """While a script runs, Redis serves no other client, and the other processes would consider it lost."""
    say, sizes = RedisSessions.apply, list[int]()

    async def counted(
        sessions: RedisSessions, update: Sequence[SessionUpdate], *more: Any
    ) -> list[SessionUpdateResult]:
        sizes.append(len(update))
        return await say(sessions, update, *more)

    monkeypatch.setattr(RedisSessions, "apply", counted)
    everybody = [SubjectId(f"@p{number}:city.localhost") for number in range(2 * BATCH + 1)]
    await replicas[0].store.set_remote(
        [RemotePresence(subject, PresenceState(ONLINE), "matrix") for subject in everybody]
    )
    assert sizes == [BATCH, BATCH, 1]
    await replicas[1].shows(everybody[-1], ONLINE)
    assert [subject for subject, _ in replicas[1].published_states()] == everybody


async def test_updates_during_outage_expire(redis: RedisServer, start_replica: StartReplica) -> None:
    replica = await start_replica(redis, ttl_ms=200)
    await back(replica)
    redis.kill()
    await gone(replica)
    for number in range(100):
        await replica.store.record_heartbeat([Heartbeat(OKSANA, session=str(number))])
        await asyncio.sleep(0.01)
    assert len(replica.store._local_updates) < 50


async def test_first_restored_process_ends_no_other_session(
    start_redis: StartRedis, start_replica: StartReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage in which all sessions expired, as when Redis and a process were on one machine."""
    server = start_redis(keep=True)
    one = await start_replica(server, ttl_ms=12_000)
    one.keep_beating(Heartbeat(OKSANA))
    await one.shows(OKSANA, ONLINE)
    server.kill()
    await gone(one)
    monkeypatch.setattr(redis_presence_module, "_RETRY_S", 1.5)
    await asyncio.sleep(13)
    server.start()
    new = await start_replica(server, ttl_ms=12_000)
    for replica in (new, one):
        await back(replica)
    await asyncio.sleep(13)
    assert one.published_states() == new.published_states() == [(OKSANA, "online")]
