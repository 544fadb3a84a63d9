"""One city of two processes, on one PostgreSQL and one Redis: they show the same, do nothing twice, and either may die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from daarion_appservice.demo.child_processes import Child
from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import AGENTS, RunningCity, citizen_token, eventually, shared_city
from tests.parts.frames import next_frame
from tests.parts.http_proxy import HttpProxy
from tests.parts.matrix_user import Arrive, MatrixUser, arriving
from tests.parts.postgres import Postgres
from tests.parts.presence_socket import receiving_updates
from tests.parts.redis import RedisServer

GENERAL = "#city_general:city.localhost"
DAARWIZZ = "@agent_daarwizz:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
VARTA = "@agent_varta:city.localhost"

THREE_AGENTS = f"""{AGENTS}
  - slug: varta
    display_name: Варта
    rooms: [general]
"""


@dataclass(frozen=True)
class Pace:
    heartbeat_s: float
    ttl_s: float


QUICK = Pace(heartbeat_s=2, ttl_s=15)
AS_IT_IS = Pace(heartbeat_s=20, ttl_s=40)


in_one_city = pytest.mark.asyncio(loop_scope="module")


@dataclass
class TwoReplicas:
    """Two processes of one city behind a proxy (``door``) for Synapse, as behind a load balancer."""

    one: RunningCity
    other: RunningCity
    redis: RedisServer
    door: HttpProxy
    tokens: dict[str, str]
    pace: Pace
    _beating: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def both(self) -> tuple[RunningCity, RunningCity]:
        return self.one, self.other

    def keep_sending_heartbeats(self, agent: str, *through: RunningCity, status: str = "online") -> None:
        self._beating.append(asyncio.create_task(self._send_heartbeats(agent, through, status)))

    async def _send_heartbeats(self, agent: str, through: tuple[RunningCity, ...], status: str) -> None:
        while True:
            for city in through:
                if city.service.running:
                    path = f"/api/v1/agents/{agent}/heartbeat"
                    assert (await city.call("POST", path, {"status": status}, token=self.tokens[agent]))[0] == 200
                    await asyncio.sleep(self.pace.heartbeat_s / 2)
            await asyncio.sleep(0)

    async def stop_heartbeats(self) -> None:
        for task in self._beating:
            task.cancel()
        for ended in await asyncio.gather(*self._beating, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended
        self._beating.clear()

    async def expect_presence(self, city: RunningCity, agent: str, presence: str, timeout_s: float = 20.0) -> None:
        async def is_so() -> bool:
            return bool((await city.get(f"/api/v1/agents/{agent}/presence"))["presence"] == presence)

        await eventually(is_so, timeout_s)


@pytest.fixture
def pace() -> Pace:
    return QUICK


@asynccontextmanager
async def open_replicas(directory: Path, database_url: str, pace: Pace) -> AsyncIterator[TwoReplicas]:
    redis, door = RedisServer(directory / "redis"), HttpProxy(0)
    settings: dict[str, str | float] = {
        "redis.url": redis.url,
        "appservice.address": door.url,
        "presence.heartbeat_s": pace.heartbeat_s,
        "presence.ttl_s": pace.ttl_s,
    }

    async def lead_door(city: RunningCity) -> None:
        door.target_port = city.matrix_port

    redis.start()
    await door.start()
    try:
        async with shared_city(directory, database_url, settings=settings, agents=THREE_AGENTS, first=lead_door) as one:

            async def is_linked() -> bool:
                return bool((await one.get("/city/rooms/general"))["matrix_status"] == "linked")

            # A process that shares presence is ready before it knows whether it leads.
            await eventually(is_linked)
            other = one.replica("other")
            try:
                await other.start()
                tokens = {slug: await one.agent_token(slug) for slug in ("daarwizz", "scribe", "varta")}
                replicas = TwoReplicas(one, other, redis, door, tokens, pace)
                yield replicas
                await replicas.stop_heartbeats()
            finally:
                await other.close()
    finally:
        await door.stop()
        redis.kill()


@pytest.fixture
async def replicas(tmp_path: Path, postgres_url: str, pace: Pace) -> AsyncIterator[TwoReplicas]:
    """Two replicas for tests that kill one of them."""
    async with open_replicas(tmp_path, postgres_url, pace) as replicas:
        yield replicas


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_replicas(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, postgres_template: str
) -> AsyncIterator[TwoReplicas]:
    """Two replicas for all tests of the module; each test has its own Matrix users."""
    database = postgres.create_database(postgres_template)
    async with open_replicas(tmp_path_factory.mktemp("replicas"), postgres.url(database), QUICK) as replicas:
        yield replicas
    postgres.drop_database(database)


@pytest_asyncio.fixture(loop_scope="module")
async def arrive_at_replicas() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


def seen(person: MatrixUser, user: str) -> list[str]:
    """Return the presences of a user that a Matrix user received, without repetitions."""
    states = ["offline"] + [presence for who, presence, _, _ in person.presences if who == user]
    return [state for before, state in pairwise(states) if state != before]


@in_one_city
async def test_both_replicas_show_each_change_once(shared_replicas: TwoReplicas, arrive_at_replicas: Arrive) -> None:
    replicas = shared_replicas
    alice = await arrive_at_replicas(replicas.one, "alice")
    await alice.join(GENERAL)
    for city in replicas.both:

        async def alice_is_a_member(city: RunningCity = city) -> bool:
            return bool((await city.get("/city/rooms/general"))["members_online"] == 1)

        await eventually(alice_is_a_member)

    token = replicas.tokens["daarwizz"]
    async with receiving_updates(replicas.one) as first, receiving_updates(replicas.other) as second:
        for number, (city, status) in enumerate(
            ((replicas.one, "online"), (replicas.other, "away"), (replicas.one, "offline")), 1
        ):
            await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": status}, token=token)
            await replicas.expect_presence(replicas.one, "daarwizz", status)
            await replicas.expect_presence(replicas.other, "daarwizz", status)
            wanted = {"away": "unavailable"}.get(status, status)
            await alice.wait_for(lambda wanted=wanted: alice.presence_of(DAARWIZZ) == wanted)  # type: ignore[misc]

            async def are_received(number: int = number) -> bool:
                return min(len(first), len(second)) >= number

            # Changes of one tick are one update, with the newest status.
            await eventually(are_received)
    assert [(each["user_id"], each["status"], each["seq"]) for each in first] == [
        (each["user_id"], each["status"], each["seq"]) for each in second
    ]
    assert [each["status"] for each in first] == ["online", "away", "offline"]
    assert seen(alice, DAARWIZZ) == ["online", "unavailable", "offline"]


@in_one_city
async def test_messages_of_both_replicas_have_one_order(
    shared_replicas: TwoReplicas, arrive_at_replicas: Arrive
) -> None:
    replicas = shared_replicas
    bohdan = await arrive_at_replicas(replicas.one, "bohdan")
    room = await bohdan.join(GENERAL)
    bodies = [f"{number}" for number in range(6)]
    seq = (await replicas.one.get("/city/rooms/general"))["last_seq"]
    watching = [asyncio.create_task(messages(city, seq, len(bodies) + 1)) for city in replicas.both]
    for body, city in zip(bodies, [*replicas.both] * 3, strict=True):
        await city.post("/city/rooms/general/messages", {"body": body}, token=citizen_token("u_1", "Оксана"))
    await bohdan.send_text(room, "і я")
    first, second = [await task for task in watching]
    assert first == second
    assert sorted(body for _, body in first) == sorted([*bodies, "і я"])
    await bohdan.wait_for(lambda: len(bohdan.messages) == len(bodies) + 1)


async def messages(city: RunningCity, since: int, number: int) -> list[tuple[int, str]]:
    """Return the sequence numbers and texts of the next ``number`` messages on a room's WebSocket."""
    received: list[tuple[int, str]] = []
    url = f"{city.api_url}/ws/city/rooms/general?since={since}"
    async with city.session.ws_connect(url) as socket:
        while len(received) < number:
            event = await next_frame(socket)
            if event["event"] == "city.room.message":
                received.append((event["seq"], event["message"]["body"]))
    return received


async def reads(city: RunningCity, since: int, number: int, opened: asyncio.Event) -> dict[str, str]:
    """The last read message of each reader, after so many receipts have reached a page; ``opened`` is set by a replay."""
    received: dict[str, str] = {}
    async with city.session.ws_connect(f"{city.api_url}/ws/city/rooms/general?since={since}") as socket:
        while len(received) < number:
            event = await next_frame(socket)
            opened.set()
            if event["event"] == "city.room.read":
                received[event["user_id"]] = event["message_id"]
    return received


@in_one_city
async def test_receipts_reach_pages_of_both_replicas(shared_replicas: TwoReplicas, arrive_at_replicas: Arrive) -> None:
    replicas, taras = shared_replicas, citizen_token("u_2", "Тарас")
    solomia = await arrive_at_replicas(replicas.one, "solomia")
    room = await solomia.join(GENERAL)
    await replicas.one.post("/city/rooms/general/join", token=taras)
    posted = await replicas.one.post(
        "/city/rooms/general/messages", {"body": "прочитайте"}, token=citizen_token("u_1", "Оксана")
    )
    event = await solomia.wait_for_event(lambda each: each["content"].get("body") == "прочитайте")
    opened = [asyncio.Event() for _ in replicas.both]
    watching = [
        asyncio.create_task(reads(city, posted["seq"] - 1, 2, each))
        for city, each in zip(replicas.both, opened, strict=True)
    ]
    await asyncio.gather(*(each.wait() for each in opened))
    await solomia.client.room_read_markers(room, event["event_id"], event["event_id"])
    # The other replica is not the leader.
    path, mark = "/city/rooms/general/read", {"message_id": posted["id"]}
    assert (await replicas.other.call("PUT", path, mark, token=taras))[0] == 204
    expected = {"u_2": posted["id"], str(solomia.client.user_id): posted["id"]}
    assert [await task for task in watching] == [expected, expected]
    for city in replicas.both:
        receipts = await city.get("/city/rooms/general/receipts")
        assert expected.items() <= {each["user_id"]: each["message_id"] for each in receipts}.items()


@in_one_city
async def test_client_resumes_at_other_replica(shared_replicas: TwoReplicas) -> None:
    replicas = shared_replicas
    token = replicas.tokens["scribe"]
    await replicas.one.post("/api/v1/agents/scribe/heartbeat", {}, token=token)
    async with replicas.one.session.ws_connect(f"{replicas.one.api_url}/ws/city/presence") as socket:
        seq = (await next_frame(socket))["seq"]
    await replicas.one.post("/api/v1/agents/scribe/heartbeat", {"status": "away"}, token=token)
    await replicas.expect_presence(replicas.other, "scribe", "away")
    async with replicas.other.session.ws_connect(f"{replicas.other.api_url}/ws/city/presence?since={seq}") as socket:
        # Before it may come ghosts of earlier tests, and Scribe's first change, which waits until its name is read.
        while (missed := await next_frame(socket))["user_id"] != "agent:scribe" or (missed["status"] == "online"):
            continue
    assert (missed["event"], missed["status"]) == ("presence.update", "away")


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.soak)])
async def test_leader_failover_keeps_presence(replicas: TwoReplicas, arrive: Arrive, how: str) -> None:
    alice = await arrive(replicas.one, "alice")
    room = await alice.join(GENERAL)
    replicas.keep_sending_heartbeats("scribe", replicas.other)
    await replicas.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=replicas.tokens["daarwizz"])
    await alice.wait_for(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    if how == "killed":
        replicas.one.service.kill()
    else:
        await replicas.one.service.stop()
    replicas.door.target_port = replicas.other.matrix_port
    await replicas.other.post(
        "/city/rooms/general/messages", {"body": "хто тут?"}, token=citizen_token("u_1", "Оксана")
    )
    await alice.send_text(room, "я тут")

    await alice.wait_for(lambda: sorted(body for _, body in alice.messages) == ["хто тут?", "я тут"])

    async def is_received() -> bool:
        return await replicas.other.bodies() == ["хто тут?", "я тут"]

    await eventually(is_received)
    await alice.wait_for(lambda: alice.presence_of(DAARWIZZ) == "offline")
    await asyncio.sleep(replicas.pace.ttl_s)
    assert seen(alice, SCRIBE) == ["online"], "it never stopped beating"
    assert seen(alice, DAARWIZZ) == ["online", "offline"], "nobody beat for it any more"


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.soak)])
@pytest.mark.soak
async def test_redis_outage_keeps_presence(replicas: TwoReplicas, arrive: Arrive, how: str) -> None:
    alice = await arrive(replicas.one, "alice")
    await alice.join(GENERAL)
    replicas.keep_sending_heartbeats("scribe", replicas.one, replicas.other)
    await replicas.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=replicas.tokens["daarwizz"])
    await alice.wait_for(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    if how == "killed":
        replicas.redis.kill()
    else:
        replicas.redis.freeze()
    await asyncio.sleep(replicas.pace.ttl_s + 4)
    if how == "killed":
        replicas.redis.start()
    else:
        replicas.redis.thaw()

    for city in replicas.both:
        await replicas.expect_presence(city, "daarwizz", "offline", 45)
        await replicas.expect_presence(city, "scribe", "online")
    await alice.wait_for(lambda: alice.presence_of(DAARWIZZ) == "offline")
    assert seen(alice, SCRIBE) == ["online"]


@pytest.mark.soak
async def test_after_synapse_was_away_all_is_true(replicas: TwoReplicas, arrive: Arrive) -> None:
    alice = await arrive(replicas.one, "alice")
    await alice.join(GENERAL)
    replicas.keep_sending_heartbeats("scribe", replicas.one, replicas.other)
    await replicas.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=replicas.tokens["daarwizz"])
    await alice.wait_for(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    replicas.one.homeserver.kill()
    await asyncio.sleep(replicas.pace.ttl_s + 2)
    await replicas.one.homeserver.start()

    await alice.wait_for(lambda: alice.presence_of(DAARWIZZ) == "offline")
    await alice.wait_for(lambda: alice.presence_of(SCRIBE) == "online")


# --- at the pace of a real city -----------------------------------------------------------------------

OUTAGE_S = 30.0
WITHIN_S = 45.0


@pytest.mark.soak
@pytest.mark.parametrize("pace", [AS_IT_IS])
@pytest.mark.parametrize("what", ["leader", "other", "redis", "synapse"])
async def test_outage_of_one_part_keeps_presence(replicas: TwoReplicas, arrive: Arrive, what: str) -> None:
    """One agent sends heartbeats all the time, one for the last time before the outage, one for the first time during it."""
    alice = await arrive(replicas.one, "alice")
    await alice.join(GENERAL)
    survivor = replicas.other if what == "leader" else replicas.one
    replicas.keep_sending_heartbeats("scribe", survivor)
    await replicas.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=replicas.tokens["daarwizz"])
    await alice.wait_for(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    parts: dict[str, RedisServer | LocalSynapse | Child] = {
        "leader": replicas.one.service,
        "other": replicas.other.service,
        "redis": replicas.redis,
        "synapse": replicas.one.homeserver,
    }
    parts[what].kill()
    replicas.door.target_port = survivor.matrix_port
    await asyncio.sleep(OUTAGE_S)
    replicas.keep_sending_heartbeats("varta", survivor)
    if (starting := parts[what].start()) is not None:
        await starting
    async with asyncio.timeout(WITHIN_S):
        for city in replicas.both:
            await city.ready()
            await replicas.expect_presence(city, "daarwizz", "offline", WITHIN_S)
            await replicas.expect_presence(city, "scribe", "online", WITHIN_S)
            await replicas.expect_presence(city, "varta", "online", WITHIN_S)
        await alice.wait_for(lambda: alice.presence_of(DAARWIZZ) == "offline", WITHIN_S)
        await alice.wait_for(lambda: {alice.presence_of(SCRIBE), alice.presence_of(VARTA)} == {"online"}, WITHIN_S)
    if what != "synapse":
        assert seen(alice, SCRIBE) == ["online"]
