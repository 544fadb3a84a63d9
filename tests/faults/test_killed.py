"""SIGKILL of the service and of Synapse during a conversation: no message is lost, doubled or misordered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from daarion_appservice.config import loading as config_file
from tests.parts.city import RunningCity, StartCity, citizen_token, eventually
from tests.parts.http_proxy import HttpProxy, Passed
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.ports import free_port
from tests.parts.two_way_messages import (
    CITIZEN,
    Messages,
    both_sides_received,
    in_the_city,
    numbered_messages,
    post_as_citizen,
    send_as_person,
)

ALICE = "@alice:city.localhost"
DOWN_S = 10.0
COUNT = 24

ON_SQLITE = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True
)
ON_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"], indirect=True
)
"""Half of the tests on each, and all of them on both with the soak: what is killed is not the database."""


class StartProxy(Protocol):
    """What the fixture ``proxy`` gives."""

    async def __call__(self, target_port: int) -> HttpProxy: ...


@pytest.fixture
async def proxy() -> AsyncIterator[StartProxy]:
    """Starts proxies: ``await proxy(port)``; they are gone when the test ends."""
    started: list[HttpProxy] = []

    async def start(target_port: int) -> HttpProxy:
        another = HttpProxy(target_port)
        started.append(another)
        await another.start()
        return another

    yield start
    for each in started:
        await each.stop()


# --- while messages flow both ways --------------------------------------------------------------------


@ON_SQLITE
async def test_synapse_kill_loses_no_message(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()

    async def kill_synapse(sent: Messages) -> None:
        await _until_sent(sent, 10)
        city.homeserver.kill()
        await asyncio.sleep(DOWN_S)
        await city.homeserver.start()

    await _talk_while(city, await arrive(city, "alice"), kill_synapse)


@ON_POSTGRESQL
async def test_repeated_service_kills_lose_no_message(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    pauses = random.Random()

    async def kill_the_service(sent: Messages) -> None:
        for times in range(1, 3):
            await _until_sent(sent, times * 7, at_least_one=True)
            await asyncio.sleep(pauses.uniform(0, 0.2))
            city.service.kill()
            await asyncio.sleep(pauses.uniform(0, 1))
            await city.start()

    await _talk_while(city, await arrive(city, "alice"), kill_the_service)


async def _talk_while(city: RunningCity, alice: MatrixUser, fault: Callable[[Messages], Awaitable[None]]) -> None:
    """Both sides talk, ``fault`` happens, both talk on; then both sides must have it all."""
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {CITIZEN: [], ALICE: []}
    async with asyncio.TaskGroup() as talking:
        talking.create_task(post_as_citizen(city, numbered_messages(COUNT, "u_123"), sent[CITIZEN]))
        talking.create_task(send_as_person(alice, general, numbered_messages(COUNT, "alice"), sent[ALICE]))
        talking.create_task(_within(120, fault(sent)))
    # What came twice would have come before these.
    await send_as_person(alice, general, ["alice is done"], sent[ALICE])
    await post_as_citizen(city, ["u_123 is done"], sent[CITIZEN])
    assert [len(words) for words in sent.values()] == [COUNT + 1, COUNT + 1]
    await both_sides_received(city, alice, general, sent)


async def _within(timeout_s: float, fault: Awaitable[None]) -> None:
    async with asyncio.timeout(timeout_s):
        await fault


async def _until_sent(sent: Messages, count: int, *, at_least_one: bool = False) -> None:
    async def is_arrived() -> bool:
        counts = [len(words) for words in sent.values()]
        return (max(counts) if at_least_one else min(counts)) >= count

    await eventually(is_arrived)


# --- in the worst moment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database_url", "killed"),
    [
        pytest.param("sqlite", "service", marks=pytest.mark.soak),
        ("postgresql", "synapse"),
        pytest.param("sqlite", "synapse", marks=pytest.mark.soak),
        pytest.param("postgresql", "service", marks=pytest.mark.soak),
        pytest.param("sqlite", "both", marks=pytest.mark.soak),
        pytest.param("postgresql", "both", marks=pytest.mark.soak),
    ],
    indirect=["database_url"],
)
async def test_unconfirmed_message_is_sent_once(
    start_city: StartCity, arrive: Arrive, proxy: StartProxy, killed: str
) -> None:
    city, to_synapse, to_service = await _city_behind_proxies(start_city, proxy)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {CITIZEN: []}
    await post_as_citizen(city, ["before"], sent[CITIZEN])
    await both_sides_received(city, alice, general, sent)

    # Neither the answer nor the echo is to tell the service that its message arrived.
    to_synapse.lose_answers(lambda passed: passed.is_message)
    to_service.refuse(lambda passed: passed.is_transaction)
    await post_as_citizen(city, ["in the worst moment", "after"], sent[CITIZEN])
    await alice.wait_for(lambda: (CITIZEN, "in the worst moment") in alice.messages)
    await eventually(_has_lost(to_synapse, 1))
    if killed in {"service", "both"}:
        city.service.kill()
    if killed in {"synapse", "both"}:
        city.homeserver.kill()
        await city.homeserver.start()
    to_synapse.pass_everything()
    # Nor is the room's history.
    to_synapse.lose_answers(lambda passed: passed.is_history)
    if killed in {"service", "both"}:
        city.service.start()

    async def is_sent_again() -> bool:
        return _transaction_ids(to_synapse).count(_transaction_ids(to_synapse)[1]) == 2

    await eventually(is_sent_again, explain=lambda: "\n".join(city.service.last_lines(60)))
    to_synapse.pass_everything()
    to_service.pass_everything()
    await both_sides_received(city, alice, general, sent)


@ON_POSTGRESQL
async def test_transaction_with_lost_200_is_stored_once(
    start_city: StartCity, arrive: Arrive, proxy: StartProxy
) -> None:
    matrix_port = free_port()
    to_service = await proxy(matrix_port)
    city = await start_city(settings={"matrix.port": matrix_port, "appservice.address": to_service.url})
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {ALICE: []}
    await send_as_person(alice, general, ["before"], sent[ALICE])
    await both_sides_received(city, alice, general, sent)

    to_service.lose_answers(lambda passed: passed.is_transaction)
    await send_as_person(alice, general, ["in the worst moment", "after"], sent[ALICE])
    await eventually(_has_lost(to_service, 1))
    city.service.kill()
    to_service.pass_everything()
    await city.start()

    async def has_come_again() -> bool:
        return [passed.path for passed in to_service.passed].count(to_service.lost[0].path) >= 2

    await eventually(has_come_again)
    await both_sides_received(city, alice, general, sent)


@ON_SQLITE
async def test_events_lost_by_synapse_are_backfilled(start_city: StartCity, arrive: Arrive, proxy: StartProxy) -> None:
    """Synapse counts events as handed over while they still wait behind a transaction that is not answered yet."""
    matrix_port = free_port()
    to_service = await proxy(matrix_port)
    city = await start_city(settings={"matrix.port": matrix_port, "appservice.address": to_service.url})
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {ALICE: []}
    await _talk_until_synapse_forgets(city, alice, general, sent, to_service)
    await city.homeserver.start()

    # No later message triggers a delivery by Synapse.
    await both_sides_received(city, alice, general, sent)


@ON_SQLITE
@pytest.mark.soak
async def test_backfilled_event_precedes_later_messages(
    start_city: StartCity, arrive: Arrive, proxy: StartProxy
) -> None:
    city, to_synapse, to_service = await _city_behind_proxies(start_city, proxy)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {ALICE: []}
    await _talk_until_synapse_forgets(city, alice, general, sent, to_service)

    # The newest message comes while the older ones are still being looked for.
    to_synapse.lose_answers(lambda passed: passed.is_history)
    await city.homeserver.start()
    await eventually(_has_lost(to_synapse, 1))
    await send_as_person(alice, general, ["after"], sent[ALICE])

    async def has_come() -> bool:
        return any("'after'" in str(passed.content) for passed in to_service.passed)

    await eventually(has_come)
    to_synapse.pass_everything()
    await both_sides_received(city, alice, general, sent)


async def _city_behind_proxies(start_city: StartCity, proxy: StartProxy) -> tuple[RunningCity, HttpProxy, HttpProxy]:
    """A city, the proxy on its way to Synapse, and the one on Synapse's way to it."""
    homeserver_port, matrix_port = free_port(), free_port()
    to_synapse, to_service = await proxy(homeserver_port), await proxy(matrix_port)
    city = await start_city(
        homeserver={"port": homeserver_port},
        settings={
            "matrix.port": matrix_port,
            "homeserver.address": to_synapse.url,
            "appservice.address": to_service.url,
        },
    )
    return city, to_synapse, to_service


async def _talk_until_synapse_forgets(
    city: RunningCity, alice: MatrixUser, room_id: str, sent: Messages, to_service: HttpProxy
) -> None:
    await send_as_person(alice, room_id, ["before"], sent[ALICE])
    await both_sides_received(city, alice, room_id, sent)
    to_service.lose_answers(lambda passed: passed.is_transaction)
    await send_as_person(alice, room_id, ["arrives"], sent[ALICE])
    await eventually(_has_lost(to_service, 1))
    await send_as_person(alice, room_id, numbered_messages(3, "waits"), sent[ALICE])
    city.homeserver.kill()
    to_service.pass_everything()


# --- right after the 200 ------------------------------------------------------------------------------


@ON_SQLITE
async def test_acknowledged_transaction_survives_kill(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    token = citizen_token("u_123", "Оксана")
    posted, received = [], []
    for number in range(2):
        body = f"posted {number}"
        status, _ = await city.call("POST", "/city/rooms/general/messages", {"body": body}, token=token)
        city.service.kill()
        assert status == 201
        posted.append(body)
        await city.start()

        body = f"received {number}"
        status = await _deliver(city, f"test-{number}", _message(general, f"$test-{number}", body))
        city.service.kill()
        assert status == 200
        received.append(body)
        await city.start()

    async def all_are_there() -> bool:
        return len(await in_the_city(city)) == 4

    await eventually(all_are_there)
    bodies = [message["body"] for message in await in_the_city(city)]
    assert [body for body in bodies if body in posted] == posted
    assert [body for body in bodies if body in received] == received
    await alice.wait_for(lambda: [body for _, body in alice.messages] == posted)


async def _deliver(city: RunningCity, txn_id: str, event: dict[str, Any]) -> int:
    """Give the service a transaction, as Synapse does."""
    hs_token = config_file.load(city.config).appservice.hs_token.get_secret_value()
    path = f"/_matrix/app/v1/transactions/{txn_id}"
    status, _ = await city.call("PUT", path, {"events": [event]}, token=hs_token, url=city.matrix_url)
    return status


def _message(room_id: str, event_id: str, body: str) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "room_id": room_id,
        "event_id": event_id,
        "sender": ALICE,
        "origin_server_ts": 1_700_000_000_000,
        "content": {"msgtype": "m.text", "body": body},
    }


def _has_lost(proxy: HttpProxy, count: int) -> Callable[[], Awaitable[bool]]:
    async def has_lost() -> bool:
        return len(proxy.lost) >= count

    return has_lost


def _transaction_ids(proxy: HttpProxy) -> list[str]:
    """Of the messages that passed, in that order."""
    return [_last_part(passed) for passed in proxy.passed if passed.is_message]


def _last_part(passed: Passed) -> str:
    return passed.path.rpartition("/")[2]
