"""One city of two processes, on one PostgreSQL and one Redis: they show the same, do nothing twice, and either may die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daarion_appservice.demo.child_processes import Child
from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import AGENTS, RunningCity, citizen_token, eventually, shared_city
from tests.parts.http_proxy import HttpProxy
from tests.parts.matrix_user import Arrive, MatrixUser, arriving
from tests.parts.postgres import Postgres
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


QUICK = Pace(heartbeat_s=2, ttl_s=6)
AS_IT_IS = Pace(heartbeat_s=20, ttl_s=40)


in_one_city = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Twins:
    """Two processes of one city; Synapse finds whichever ``door`` leads to, as behind a load balancer."""

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

    def keep_beating(self, agent: str, *through: RunningCity, status: str = "online") -> None:
        self._beating.append(asyncio.create_task(self._beat(agent, through, status)))

    async def _beat(self, agent: str, through: tuple[RunningCity, ...], status: str) -> None:
        while True:
            for city in through:
                if city.service.running:
                    path = f"/api/v1/agents/{agent}/heartbeat"
                    assert (await city.call("POST", path, {"status": status}, token=self.tokens[agent]))[0] == 200
                    await asyncio.sleep(self.pace.heartbeat_s / 2)
            await asyncio.sleep(0)

    async def stop_beating(self) -> None:
        for task in self._beating:
            task.cancel()
        for ended in await asyncio.gather(*self._beating, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended
        self._beating.clear()

    async def shows(self, city: RunningCity, agent: str, presence: str, timeout_s: float = 20.0) -> None:
        async def is_so() -> bool:
            return bool((await city.get(f"/api/v1/agents/{agent}/presence"))["presence"] == presence)

        await eventually(is_so, timeout_s)


@pytest.fixture
def pace() -> Pace:
    return QUICK


@asynccontextmanager
async def open_twins(directory: Path, database_url: str, pace: Pace) -> AsyncIterator[Twins]:
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
            other = one.replica("other")
            try:
                await other.start()
                tokens = {slug: await one.agent_token(slug) for slug in ("daarwizz", "scribe", "varta")}
                twins = Twins(one, other, redis, door, tokens, pace)
                yield twins
                await twins.stop_beating()
            finally:
                await other.close()
    finally:
        await door.stop()
        redis.kill()


@pytest.fixture
async def twins(tmp_path: Path, postgres_url: str, pace: Pace) -> AsyncIterator[Twins]:
    """Two of whom one may be killed."""
    async with open_twins(tmp_path, postgres_url, pace) as twins:
        yield twins


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_twins(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, postgres_template: str
) -> AsyncIterator[Twins]:
    """Two who live on: each test brings people of its own."""
    database = postgres.create_database(postgres_template)
    async with open_twins(tmp_path_factory.mktemp("twins"), postgres.url(database), QUICK) as twins:
        yield twins
    postgres.drop_database(database)


@pytest_asyncio.fixture(loop_scope="module")
async def arrive_here() -> AsyncIterator[Arrive]:
    async with arriving() as arrive:
        yield arrive


def seen(person: MatrixUser, user: str) -> list[str]:
    """What a person saw of somebody's presence since they first came, without what was said again."""
    states = ["offline"] + [presence for who, presence, _, _ in person.presences if who == user]
    return [state for before, state in pairwise(states) if state != before]


async def updates(city: RunningCity, number: int) -> list[dict[str, Any]]:
    async with city.session.ws_connect(f"{city.api_url}/ws/city/presence") as socket:
        await socket.receive_json(timeout=10)
        return [await socket.receive_json(timeout=20) for _ in range(number)]


@in_one_city
async def test_both_replicas_show_each_change_once(lasting_twins: Twins, arrive_here: Arrive) -> None:
    twins = lasting_twins
    alice = await arrive_here(twins.one, "alice")
    await alice.join(GENERAL)
    for city in twins.both:

        async def alice_is_a_member(city: RunningCity = city) -> bool:
            return bool((await city.get("/city/rooms/general"))["members_online"] == 1)

        await eventually(alice_is_a_member)

    watching = [asyncio.create_task(updates(city, 3)) for city in twins.both]
    await asyncio.sleep(0.5)
    for city, status in ((twins.one, "online"), (twins.other, "away"), (twins.one, "offline")):
        token = twins.tokens["daarwizz"]
        await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": status}, token=token)
        await twins.shows(twins.one, "daarwizz", status)
        await twins.shows(twins.other, "daarwizz", status)
        wanted = {"away": "unavailable"}.get(status, status)
        await alice.sees(lambda wanted=wanted: alice.presence_of(DAARWIZZ) == wanted)  # type: ignore[misc]
    first, second = [await task for task in watching]
    assert [(each["user_id"], each["status"], each["seq"]) for each in first] == [
        (each["user_id"], each["status"], each["seq"]) for each in second
    ]
    assert [each["status"] for each in first] == ["online", "away", "offline"]
    assert seen(alice, DAARWIZZ) == ["online", "unavailable", "offline"]


@in_one_city
async def test_messages_of_both_replicas_have_one_order(lasting_twins: Twins, arrive_here: Arrive) -> None:
    twins = lasting_twins
    bohdan = await arrive_here(twins.one, "bohdan")
    room = await bohdan.join(GENERAL)
    said = [f"{number}" for number in range(6)]
    seq = (await twins.one.get("/city/rooms/general"))["last_seq"]
    watching = [asyncio.create_task(messages(city, seq, len(said) + 1)) for city in twins.both]
    await asyncio.sleep(0.5)
    for body, city in zip(said, [*twins.both] * 3, strict=True):
        await city.post("/city/rooms/general/messages", {"body": body}, token=citizen_token("u_1", "Оксана"))
    await bohdan.say(room, "і я")
    first, second = [await task for task in watching]
    assert first == second
    assert sorted(body for _, body in first) == sorted([*said, "і я"])
    await bohdan.sees(lambda: len(bohdan.messages) == len(said) + 1)


async def messages(city: RunningCity, since: int, number: int) -> list[tuple[int, str]]:
    """Number and text of so many messages, as a page hears them."""
    heard: list[tuple[int, str]] = []
    url = f"{city.api_url}/ws/city/rooms/general?since={since}"
    async with city.session.ws_connect(url) as socket:
        while len(heard) < number:
            event = await socket.receive_json(timeout=20)
            if event["event"] == "city.room.message":
                heard.append((event["seq"], event["message"]["body"]))
    return heard


@in_one_city
async def test_client_resumes_at_other_replica(lasting_twins: Twins) -> None:
    twins = lasting_twins
    token = twins.tokens["scribe"]
    await twins.one.post("/api/v1/agents/scribe/heartbeat", {}, token=token)
    async with twins.one.session.ws_connect(f"{twins.one.api_url}/ws/city/presence") as socket:
        seq = (await socket.receive_json(timeout=10))["seq"]
    await twins.one.post("/api/v1/agents/scribe/heartbeat", {"status": "away"}, token=token)
    await twins.shows(twins.other, "scribe", "away")
    async with twins.other.session.ws_connect(f"{twins.other.api_url}/ws/city/presence?since={seq}") as socket:
        while (missed := await socket.receive_json(timeout=10))["user_id"] != "agent:scribe":
            continue  # somebody of the tests before, whom Synapse has missed by now
    assert (missed["event"], missed["status"]) == ("presence.update", "away")


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.soak)])
async def test_leader_failover_keeps_presence(twins: Twins, arrive: Arrive, how: str) -> None:
    alice = await arrive(twins.one, "alice")
    room = await alice.join(GENERAL)
    twins.keep_beating("scribe", twins.other)
    await twins.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=twins.tokens["daarwizz"])
    await alice.sees(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    if how == "killed":
        twins.one.service.kill()
    else:
        await twins.one.service.stop()
    twins.door.target_port = twins.other.matrix_port
    await twins.other.post("/city/rooms/general/messages", {"body": "хто тут?"}, token=citizen_token("u_1", "Оксана"))
    await alice.say(room, "я тут")

    await alice.sees(lambda: sorted(body for _, body in alice.messages) == ["хто тут?", "я тут"], 40)

    async def is_heard() -> bool:
        return await twins.other.bodies() == ["хто тут?", "я тут"]

    await eventually(is_heard, 40)
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", 40)
    await asyncio.sleep(twins.pace.ttl_s)
    assert seen(alice, SCRIBE) == ["online"], "it never stopped beating"
    assert seen(alice, DAARWIZZ) == ["online", "offline"], "nobody beat for it any more"


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.soak)])
@pytest.mark.soak
async def test_redis_outage_keeps_presence(twins: Twins, arrive: Arrive, how: str) -> None:
    alice = await arrive(twins.one, "alice")
    await alice.join(GENERAL)
    twins.keep_beating("scribe", twins.one, twins.other)
    await twins.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=twins.tokens["daarwizz"])
    await alice.sees(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    if how == "killed":
        twins.redis.kill()
    else:
        twins.redis.freeze()
    await asyncio.sleep(twins.pace.ttl_s + 4)
    if how == "killed":
        twins.redis.start()
    else:
        twins.redis.thaw()

    for city in twins.both:
        await twins.shows(city, "daarwizz", "offline", 45)
        await twins.shows(city, "scribe", "online")
    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline")
    assert seen(alice, SCRIBE) == ["online"]


@pytest.mark.soak
async def test_after_synapse_was_away_all_is_true(twins: Twins, arrive: Arrive) -> None:
    alice = await arrive(twins.one, "alice")
    await alice.join(GENERAL)
    twins.keep_beating("scribe", twins.one, twins.other)
    await twins.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=twins.tokens["daarwizz"])
    await alice.sees(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    twins.one.homeserver.kill()
    await asyncio.sleep(twins.pace.ttl_s + 2)
    await twins.one.homeserver.start()

    await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", 45)
    await alice.sees(lambda: alice.presence_of(SCRIBE) == "online", 45)


# --- at the pace of a real city -----------------------------------------------------------------------

OUTAGE_S = 30.0
WITHIN_S = 45.0


@pytest.mark.soak
@pytest.mark.parametrize("pace", [AS_IT_IS])
@pytest.mark.parametrize("what", ["leader", "other", "redis", "synapse"])
async def test_outage_of_one_part_keeps_presence(twins: Twins, arrive: Arrive, what: str) -> None:
    """One agent goes on beating all the time, one beats last when it happens, one first meanwhile."""
    alice = await arrive(twins.one, "alice")
    await alice.join(GENERAL)
    survivor = twins.other if what == "leader" else twins.one
    twins.keep_beating("scribe", survivor)
    await twins.one.post("/api/v1/agents/daarwizz/heartbeat", {}, token=twins.tokens["daarwizz"])
    await alice.sees(lambda: {alice.presence_of(SCRIBE), alice.presence_of(DAARWIZZ)} == {"online"})

    parts: dict[str, RedisServer | LocalSynapse | Child] = {
        "leader": twins.one.service,
        "other": twins.other.service,
        "redis": twins.redis,
        "synapse": twins.one.homeserver,
    }
    parts[what].kill()
    twins.door.target_port = survivor.matrix_port
    await asyncio.sleep(OUTAGE_S)
    twins.keep_beating("varta", survivor)
    if (starting := parts[what].start()) is not None:
        await starting
    async with asyncio.timeout(WITHIN_S):
        for city in twins.both:
            await city.ready()
            await twins.shows(city, "daarwizz", "offline", WITHIN_S)
            await twins.shows(city, "scribe", "online", WITHIN_S)
            await twins.shows(city, "varta", "online", WITHIN_S)
        await alice.sees(lambda: alice.presence_of(DAARWIZZ) == "offline", WITHIN_S)
        await alice.sees(lambda: {alice.presence_of(SCRIBE), alice.presence_of(VARTA)} == {"online"}, WITHIN_S)
    if what != "synapse":
        assert seen(alice, SCRIBE) == ["online"]
