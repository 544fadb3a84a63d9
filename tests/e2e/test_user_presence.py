"""Matrix users in the city: typing, joins and leaves, and their presence by ``/internal``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nio
import pytest
from mautrix.api import Method
from mautrix.api import Path as ClientPath

from daarion_appservice import app
from daarion_appservice.app import listening, load
from daarion_appservice.city.events import TypingChanged
from daarion_appservice.city.types import AgentSlug
from daarion_appservice.config import loading as config_file
from daarion_appservice.ops.service_manager import ServiceManager
from daarion_appservice.wiring import City, build_city
from tests.parts.city import AGENTS, RunningCity, StartCity, eventually
from tests.parts.http_proxy import HttpProxy, Passed
from tests.parts.matrix_user import Arrive, MatrixUser, quiet_user, syncing
from tests.parts.ports import free_port
from tests.parts.synapse import SERVER_NAME, BootSynapse

GENERAL = f"#city_general:{SERVER_NAME}"
ALICE, BOB, CAROL = (f"@{name}:{SERVER_NAME}" for name in ("alice", "bob", "carol"))


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Presence is in memory; one database will do."""
    return sqlite_url


@pytest.fixture
async def proxy() -> AsyncIterator[HttpProxy]:
    """Between the city and its homeserver, which people reach without it."""
    proxy = HttpProxy(free_port())
    await proxy.start()
    yield proxy
    await proxy.stop()


def is_sync(passed: Passed) -> bool:
    return passed.path == "/_matrix/client/v3/sync"


def is_no_sync(passed: Passed) -> bool:
    return not is_sync(passed)


# --- typing -------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_city(running: RunningCity) -> AsyncIterator[City]:
    """The service in the test's own process, so that its bus can be listened to."""
    city = build_city(config_file.load(running.config))
    try:
        await load(city)
        async with listening(city):
            tasks = asyncio.create_task(app._run_tasks(city, ServiceManager()))
            try:
                yield city
            finally:
                tasks.cancel()
                await asyncio.gather(tasks, return_exceptions=True)
    finally:
        await city.close()


async def test_typing_of_matrix_users_reaches_city(
    tmp_path: Path, database_url: str, synapse: BootSynapse, proxy: HttpProxy, arrive: Arrive
) -> None:
    running = await RunningCity.make(
        tmp_path / "city",
        database_url,
        synapse,
        homeserver={"port": proxy.target_port},
        settings={"homeserver.address": proxy.url},
        agents=AGENTS,
    )
    received_typing: list[set[str]] = []

    def hear(change: TypingChanged) -> None:
        assert change.room_id == "city_general"
        received_typing.append(set(change.typing))

    async def expect_typing(*typing: str) -> None:
        async def last() -> bool:
            return bool(received_typing) and received_typing[-1] == set(typing)

        await eventually(last, explain=lambda: str(received_typing))

    try:
        async with open_city(running) as city:
            city.bus.subscribe(TypingChanged, hear)

            async def is_ready() -> bool:
                return city.reconciler.is_done

            await eventually(is_ready)
            alice, bob = await arrive(running, "alice"), await arrive(running, "bob")
            room = await alice.join(GENERAL)
            await bob.join(GENERAL)

            await types(alice, room)
            await expect_typing(ALICE)
            await ghost_types(city, room)
            await types(bob, room)
            await expect_typing(ALICE, BOB)
            await types(alice, room, is_typing=False)
            await expect_typing(BOB)
            assert received_typing == [{ALICE}, {ALICE, BOB}, {BOB}], "typing of a ghost is not news"

            # No typing arrives during the outage; after it, that of all who type then.
            proxy.refuse(lambda _: True)
            await types(alice, room)
            await expect_typing()
            proxy.pass_everything()
            await expect_typing(ALICE, BOB)

            await alice.client.room_leave(room)
            await expect_typing(BOB)
            await types(bob, room, is_typing=False)
            await expect_typing()
    finally:
        await running.close()


async def types(person: MatrixUser, room: str, *, is_typing: bool = True) -> None:
    assert isinstance(await person.client.room_typing(room, is_typing, 120_000), nio.RoomTypingResponse)


async def ghost_types(city: City, room: str) -> None:
    ghost = city.identities.agent(AgentSlug("daarwizz"))
    path = ClientPath.v3.rooms[room].typing[ghost]
    await city.homeserver.request(Method.PUT, path, {"typing": True, "timeout": 120_000}, as_user=ghost)


# --- who is asked about -------------------------------------------------------------------------------


async def internal(city: RunningCity, user: str) -> dict[str, Any]:
    status, shown = await city.call("GET", f"/internal/matrix/presence/{user}", url=city.matrix_url)
    assert status == 200, shown
    return dict(shown)


def questions(proxy: HttpProxy, user: str) -> int:
    """The number of presence requests for a user."""
    return sum(
        each.method == "GET" and each.path == f"/_matrix/client/v3/presence/{user}/status" for each in proxy.passed
    )


async def is_known_as(city: RunningCity, proxy: HttpProxy, user: str, presence: str) -> None:
    """Wait until the city says so without asking."""

    async def is_known() -> bool:
        received = questions(proxy, user)
        return (await internal(city, user))["presence"] == presence and questions(proxy, user) == received

    await eventually(is_known)


async def test_internal_requests_only_unobserved_presence(start_city: StartCity, proxy: HttpProxy) -> None:
    city = await start_city(homeserver={"port": proxy.target_port}, settings={"homeserver.address": proxy.url})
    async with (
        quiet_user(city.homeserver, "alice") as alice,
        quiet_user(city.homeserver, "bob") as bob,
        quiet_user(city.homeserver, "carol") as carol,
    ):

        async def has_presence(user: str, presence: str, text: str | None = None) -> None:
            async def as_wanted() -> bool:
                shown = await internal(city, user)
                return (shown["presence"], shown["status_msg"]) == (presence, text)

            await eventually(as_wanted)

        async def is_in_the_city(user: str, status: str) -> None:
            async def as_wanted() -> bool:
                return bool((await city.get(f"/api/v1/presence?ids={user}"))["presences"][0]["status"] == status)

            await eventually(as_wanted)

        # Bob shares no room with a user of the city, so his presence is unknown.
        await bob.sync(timeout=0, set_presence="online")
        await has_presence(BOB, "offline")
        assert questions(proxy, BOB) > 0
        await alice.join(GENERAL)
        async with syncing(alice):
            await is_in_the_city(ALICE, "online")

        # Alice's change has moved the observer beyond Bob's: coming into a room he must be asked about, once.
        await bob.sync(timeout=0, set_presence="online")  # Synapse takes him offline 30 s after his first sync.
        received = questions(proxy, BOB)
        await bob.join(GENERAL)
        await is_in_the_city(BOB, "online")
        assert questions(proxy, BOB) == received + 1
        await has_presence(ALICE, "online")
        await has_presence(BOB, "online")

        await bob.sync(timeout=0, set_presence="online")
        await has_presence(BOB, "online")
        before = {user: questions(proxy, user) for user in (ALICE, BOB)}
        await alice.set_presence("unavailable", "обідаю")
        await has_presence(ALICE, "away", "обідаю")
        await alice.set_presence("offline")
        await has_presence(ALICE, "offline")
        shown = [await internal(city, user) for user in (ALICE, BOB)]
        assert [each["presence"] for each in shown] == ["offline", "online"]
        assert all(0 <= each["last_active_ago_ms"] <= 600_000 for each in shown)
        assert {user: questions(proxy, user) for user in (ALICE, BOB)} == before

        # Carol was never told of: she is asked about until the city knows that she is there, and once then.
        await carol.join(GENERAL)
        await is_known_as(city, proxy, CAROL, "offline")

        # After a leave the presence is unknown on both sides.
        await bob.room_leave((await bob.joined_rooms()).rooms[0])
        await is_in_the_city(BOB, "offline")
        await has_presence(BOB, "offline")


async def test_presence_after_outage_is_not_stale(start_city: StartCity, proxy: HttpProxy) -> None:
    city = await start_city(homeserver={"port": proxy.target_port}, settings={"homeserver.address": proxy.url})
    async with quiet_user(city.homeserver, "alice") as alice:
        await alice.join(GENERAL)
        async with syncing(alice):
            await is_known_as(city, proxy, ALICE, "online")

        # The line leads nowhere: the observer's poll hangs in it, and goes on hanging when there is a new one.
        proxy.lose_answers(is_sync)
        proxy.refuse(is_no_sync)
        await alice.set_presence("unavailable", "пішла")

        async def nobody_can_be_asked() -> bool:
            return bool((await internal(city, ALICE))["presence"] == "offline")

        await eventually(nobody_can_be_asked)
        proxy.refuse(lambda _: False)
        presences = []

        async def is_received() -> bool:
            presences.append((await internal(city, ALICE))["presence"])
            return bool(presences[-1] != "offline")

        await eventually(is_received)
        assert presences[-1] == "away"

        proxy.pass_everything()

        async def all_are_told() -> bool:
            return bool((await city.get(f"/api/v1/presence?ids={ALICE}"))["presences"][0]["status"] == "away")

        await eventually(all_are_told)
        await is_known_as(city, proxy, ALICE, "away")
