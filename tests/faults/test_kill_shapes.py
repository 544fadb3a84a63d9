"""Kills and cuts in each shape in which a city runs: nothing lost, doubled or misordered against Synapse's stream order.

Numbered messages go both ways while processes are killed (SIGKILL) and the link to another homeserver is cut. Each test prints
how many messages were lost, doubled and misordered in each direction. A short run is part of ``make test``; ``make soak`` has
60 kills and 20,000 messages of one Synapse and one process, and fewer of the other shapes. ``SOAK_KILLS``, ``SOAK_MESSAGES`` and
``SOAK_SEED`` are other numbers: ``make soak SOAK_KILLS=6 SOAK_MESSAGES=600 ARGS="-k service_and_synapse"``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

import aiohttp
import nio
import pytest

from tests.parts.city import RunningCity, StartCity, citizen_token
from tests.parts.federation import FederatedCity, StartFederation
from tests.parts.http_proxy import HttpProxy
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.memory_watch import watching_memory
from tests.parts.ports import free_port
from tests.parts.redis import RedisServer
from tests.parts.synapse_workers import APPSERVICE, GENERIC, MAIN, PERSISTER, PRESENCE, BootWorkers, SynapseWorkers
from tests.parts.tally import NumberedMessage, Tally, in_the_city, on_matrix, stream_order, tally, tally_by_author
from tests.parts.two_way_messages import waiting

# Sweeps soon after a fault; no limit on how fast the citizen writes.
SOON: dict[str, str | float] = {"homeserver.sweep_s": 2.0, "limits.messages": "100000/minute"}
SETTLED_S = 120.0
"""Without any change."""
LONGEST_DOWN_S = 1.5
MOMENT_S = 0.2
"""A fault happens within this time after its turn, between any two steps of a message's way."""
PAUSE_S = 0.02
FAULT_S = 90.0

SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "60"))
SOAK_MESSAGES = int(os.environ.get("SOAK_MESSAGES", "20000"))
"""Messages of all senders together."""
SOAK_SEED = int(os.environ.get("SOAK_SEED", "1"))

chance = random.Random(SOAK_SEED)
"""Chooses the faults of one process, their moments and how long processes are down."""

Fault = Callable[[], Awaitable[None]]


def short_or_soak(kills: int, count: int) -> pytest.MarkDecorator:
    """Parametrise a short run, and a soak run of ``kills`` faults and ``count`` messages of each sender."""
    return pytest.mark.parametrize(
        ("kills", "count"), [(3, 24), pytest.param(kills, count, marks=pytest.mark.soak)], ids=["short", "soak"]
    )


@dataclass
class Conversation:
    """A citizen and Matrix users who send numbered messages to the room general during faults."""

    doors: Sequence[RunningCity]
    """The city's processes; the citizen's page uses the next one when one does not respond."""
    people: Sequence[MatrixUser]
    room_id: str
    sent: dict[str, list[str]] = field(default_factory=dict)
    faults: int = 0
    _log: list[str] = field(default_factory=list)

    @property
    def city(self) -> RunningCity:
        return self.doors[0]

    @property
    def citizen(self) -> str:
        return f"@citizen_u_123:{self.city.homeserver.server_name}"

    async def run(self, count: int, faults: Sequence[tuple[str, Fault]]) -> None:
        """Send ``count`` messages from each sender, with the faults one after the other, spread over that time."""
        who = [self.citizen, *(person.client.user_id for person in self.people)]
        self.sent = {each: [] for each in who}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._post_as_citizen(count))
            for person in self.people:
                tasks.create_task(self._send_as_person(person, count))
            tasks.create_task(self._run_faults(count, faults))

    async def _run_faults(self, count: int, faults: Sequence[tuple[str, Fault]]) -> None:
        for number, (name, fault) in enumerate(faults, start=1):
            await self._until_sent(number * count // (len(faults) + 1))
            await asyncio.sleep(chance.uniform(0, MOMENT_S))
            self._log.append(name)
            async with asyncio.timeout(FAULT_S):
                await fault()
            self.faults += 1

    async def _until_sent(self, count: int) -> None:
        async with asyncio.timeout(FAULT_S):
            # The fastest: who is cut off cannot be waited for.
            while max(map(len, self.sent.values())) < count:
                await asyncio.sleep(0.02)

    async def _post_as_citizen(self, count: int) -> None:
        token, doors = citizen_token("u_123", "Оксана"), cycle(self.doors)
        door = next(doors)
        for number in range(count):
            body = f"citizen {number}"
            message = {"body": body, "client_id": f"client:{body}"}
            while True:
                try:
                    status, answer = await door.call("POST", "/city/rooms/general/messages", message, token=token)
                except (TimeoutError, OSError, aiohttp.ClientError):
                    status, answer = 0, None
                if status in {200, 201}:
                    break
                assert status in {0, 503}, answer
                door = next(doors)
                await asyncio.sleep(0.1)
            self.sent[self.citizen].append(body)
            await asyncio.sleep(PAUSE_S)

    async def _send_as_person(self, person: MatrixUser, count: int) -> None:
        name = person.client.user_id
        for number in range(count):
            body = f"{name[1:].partition(':')[0]} {number}"
            await self.send(person, body)
            self.sent[name].append(body)
            await asyncio.sleep(PAUSE_S)

    async def send(self, person: MatrixUser, body: str) -> None:
        """Send a message as clients do: repeated with the same transaction id until the homeserver responds."""
        content, answer = {"msgtype": "m.text", "body": body}, None
        while not isinstance(answer, nio.RoomSendResponse):
            answer = await person.client.room_send(self.room_id, "m.room.message", content, tx_id=f"txn:{body}")
            if not isinstance(answer, nio.RoomSendResponse):
                await asyncio.sleep(0.1)

    async def check_complete(self, count: Callable[[], Awaitable[tuple[Tally, Tally]]], shape: str) -> None:
        """Wait until both directions are complete, or nothing changes any more; print the counts, and fail if they are wrong."""
        loop = asyncio.get_running_loop()
        into_city, onto_matrix = await count()
        deadline_s = loop.time() + SETTLED_S
        while not (into_city.is_clean and onto_matrix.is_clean) and loop.time() < deadline_s:
            await asyncio.sleep(0.5)
            before = into_city, onto_matrix
            into_city, onto_matrix = await count()
            if (into_city, onto_matrix) != before:
                deadline_s = loop.time() + SETTLED_S
        report = (
            f"{shape}: {self.faults} faults\n  into the city: {into_city}\n  onto Matrix: {onto_matrix}\n"
            f"  faults: {', '.join(self._log)}"
        )
        if not (into_city.is_clean and onto_matrix.is_clean):
            report += f"\n  waiting: {await waiting(self.city)}\n" + "\n".join(self.city.service.last_lines(200))
        print(report)  # noqa: T201 -- `make soak` shows figures
        assert into_city.is_clean, report
        assert onto_matrix.is_clean, report

    async def by_stream(self) -> tuple[Tally, Tally]:
        """Tally messages into the city in the order of Synapse's stream, and to Matrix in the order of the citizen's posts."""
        shown = await on_matrix(self.city, self.people[0], self.room_id)
        stream = [shown[event_id] for event_id in await stream_order(self.city, self.room_id) if event_id in shown]
        inside = await in_the_city(self.city)
        written = [spoken for spoken in stream if spoken[0] != self.citizen]
        assert set(written) == {
            (who, body) for who, words in self.sent.items() for body in words if who != self.citizen
        }
        return (
            tally(written, [spoken for spoken in inside if spoken[0] != self.citizen]),
            tally(self._written(self.citizen), [spoken for spoken in stream if spoken[0] == self.citizen]),
        )

    async def by_author(self) -> tuple[Tally, Tally]:
        """Tally with the order of each author: events backfilled from another server have no position in the stream."""
        shown = await on_matrix(self.city, self.people[0], self.room_id)
        people = [spoken for person in self.people for spoken in self._written(person.client.user_id)]
        inside = await in_the_city(self.city)
        by_citizen = [spoken for spoken in reversed(shown.values()) if spoken[0] == self.citizen]
        return (
            tally_by_author(people, [spoken for spoken in inside if spoken[0] != self.citizen]),
            tally(self._written(self.citizen), by_citizen),
        )

    def _written(self, who: str) -> list[NumberedMessage]:
        return [(who, body) for body in self.sent[who]]


def _pause() -> Awaitable[None]:
    return asyncio.sleep(chance.uniform(0, LONGEST_DOWN_S))


# --- one Synapse, one process of the service ----------------------------------------------------------


@short_or_soak(kills=SOAK_KILLS, count=SOAK_MESSAGES // 3)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True)
async def test_service_and_synapse_kills_lose_no_message(
    start_city: StartCity, arrive: Arrive, kills: int, count: int
) -> None:
    city = await start_city(settings=SOON)
    people = [await arrive(city, name) for name in ("alice", "bob")]
    rooms = [await person.join("#city_general:city.localhost") for person in people]
    conversation = Conversation([city], people, rooms[0])

    async def service() -> None:
        city.service.kill()
        await _pause()
        await city.start()

    async def synapse() -> None:
        city.homeserver.kill()
        await _pause()
        await city.homeserver.start()

    async def both() -> None:
        city.homeserver.kill()
        city.service.kill()
        await _pause()
        await asyncio.gather(city.homeserver.start(), city.start())

    faults = _at_random(kills, [("service", service), ("synapse", synapse), ("both", both)])
    async with watching_memory(city) as memory:
        await conversation.run(count, faults)
    await conversation.check_complete(conversation.by_stream, f"one Synapse, one process, seed {SOAK_SEED}")
    print(memory.check_flat())  # noqa: T201 -- `make soak` shows figures


# --- workers, three processes of the service ----------------------------------------------------------


@short_or_soak(kills=30, count=650)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_worker_and_replica_kills_lose_no_message(
    start_city: StartCity,
    synapse_workers: BootWorkers,
    redis: RedisServer,
    arrive: Arrive,
    kills: int,
    count: int,
) -> None:
    async with _three_replicas(start_city, synapse_workers, redis) as replicas:
        city = replicas[0]
        people = [await arrive(city, name) for name in ("alice", "bob", "carol")]
        rooms = [await person.join("#city_general:city.localhost") for person in people]
        conversation = Conversation(replicas, people, rooms[0])
        await conversation.run(count, _some(kills, _faults_of_workers(replicas)))
        await conversation.check_complete(conversation.by_stream, "workers, three replicas")


@asynccontextmanager
async def _three_replicas(
    start_city: StartCity, synapse_workers: BootWorkers, redis: RedisServer
) -> AsyncIterator[list[RunningCity]]:
    async with AsyncExitStack() as stack:
        # The load balancer has to know all ports before the registration says where it is.
        ports = [free_port() for _ in range(3)]
        balancer = HttpProxy(*ports)
        await balancer.start()
        stack.push_async_callback(balancer.stop)
        settings: dict[str, str | float] = {
            "matrix.port": ports[0],
            "appservice.address": balancer.url,
            "redis.url": redis.url,
        }
        first = await start_city(boot=synapse_workers, settings=settings | SOON)
        others = [
            first.replica(f"replica-{number}", matrix_port=port) for number, port in enumerate(ports[1:], start=2)
        ]
        for other in others:
            stack.push_async_callback(other.close)
            other.service.start()
        for other in others:
            await other.ready()
        yield [first, *others]


def _faults_of_workers(replicas: Sequence[RunningCity]) -> list[tuple[str, Fault]]:
    homeserver = replicas[0].homeserver
    assert isinstance(homeserver, SynapseWorkers)

    def workers(*names: str) -> Fault:
        async def kill() -> None:
            homeserver.kill_processes(*names)
            await _pause()
            await homeserver.start_processes(*names)

        return kill

    def ours(*which: RunningCity) -> Fault:
        async def kill() -> None:
            for each in which:
                each.service.kill()
            await _pause()
            await asyncio.gather(*(each.start() for each in which))

        return kill

    async def worker_and_replica() -> None:
        await asyncio.gather(workers(APPSERVICE)(), ours(replicas[0])())

    return [
        (APPSERVICE, workers(APPSERVICE)),
        ("first replica", ours(replicas[0])),
        (PERSISTER, workers(PERSISTER)),
        (GENERIC[0], workers(GENERIC[0])),
        ("appservice and first replica", worker_and_replica),
        (MAIN, workers(MAIN)),
        ("second replica", ours(replicas[1])),
        (PRESENCE, workers(PRESENCE)),
        ("appservice and persister", workers(APPSERVICE, PERSISTER)),
        ("third replica", ours(replicas[2])),
        (GENERIC[1], workers(GENERIC[1])),
        ("all replicas", ours(*replicas)),
        ("all of Synapse", workers(*homeserver.processes)),
    ]


# --- two homeservers ----------------------------------------------------------------------------------


@short_or_soak(kills=16, count=400)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True)
async def test_federation_cuts_lose_no_message(
    start_federation: StartFederation, arrive: Arrive, kills: int, count: int
) -> None:
    federation = await start_federation(settings=SOON)
    people = [await arrive(federation.city, "alice"), await arrive(federation.other, "fay")]
    rooms = [await person.join(federation.alias("general")) for person in people]
    conversation = Conversation([federation.city], people, rooms[0])
    await conversation.run(count, _some(kills, _faults_of_link(federation)))
    # Synapse asks for what it missed when something new comes.
    for number, person in enumerate(people * 2):
        await conversation.send(person, f"done {number}")
        conversation.sent[person.client.user_id].append(f"done {number}")
    await conversation.check_complete(conversation.by_author, "two homeservers")


def _faults_of_link(federation: FederatedCity) -> list[tuple[str, Fault]]:
    link, city, other = federation.link, federation.city, federation.other

    def cut(*, from_here: bool = True, from_there: bool = True, restarts_other: bool = False) -> Fault:
        async def happen() -> None:
            link.cut(from_here=from_here, from_there=from_there)
            await _pause()
            if restarts_other:
                other.kill()
                await other.start()
            link.mend()

        return happen

    async def kill_here() -> None:
        city.homeserver.kill()
        await _pause()
        await city.homeserver.start()

    async def kill_service_while_cut() -> None:
        link.cut()
        city.service.kill()
        await _pause()
        await city.start()
        link.mend()

    return [
        ("cut", cut()),
        ("cut, other restarted", cut(restarts_other=True)),
        ("service killed while cut", kill_service_while_cut),
        ("cut from here", cut(from_there=False)),
        ("cut from there", cut(from_here=False)),
        ("homeserver", kill_here),
        ("cut from there, other restarted", cut(from_here=False, restarts_other=True)),
    ]


def _some(kills: int, faults: Sequence[tuple[str, Fault]]) -> list[tuple[str, Fault]]:
    """Return ``kills`` faults, cycling through the given ones."""
    return [faults[number % len(faults)] for number in range(kills)]


def _at_random(kills: int, faults: Sequence[tuple[str, Fault]]) -> list[tuple[str, Fault]]:
    """Return ``kills`` faults in random order, each of the given ones about as often as the others."""
    chosen = _some(kills, faults)
    chance.shuffle(chosen)
    return chosen
