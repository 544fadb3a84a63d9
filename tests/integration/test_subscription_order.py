"""The subscribers of an event of the bus are correct in any order: the same scenarios run with shuffled subscriptions."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from daarion_appservice.city.events import MembershipChanged
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.types import Member, RoomId, SubjectId, UserId
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.wiring import services
from tests.parts.city import citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

E = TypeVar("E")

GENERAL = RoomId("city_general")
ALICE, BOB, CAROL = (UserId(f"@{name}:city.localhost") for name in ("alice", "bob", "carol"))
OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
REVERSED, SEEDS = -1, range(4)


class ReorderedBus(Bus):
    """A bus that calls the subscribers of an event in another order than that of their subscriptions."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._random = random.Random(seed)

    def subscribe(self, kind: type[E], listener: Callable[[E], None]) -> None:
        listeners = self._listeners[kind]
        listeners.insert(0 if self._seed == REVERSED else self._random.randint(0, len(listeners)), listener)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[REVERSED, *SEEDS])
async def city(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[InProcessCity]:
    """One city for all scenarios of an order: each has its own subjects."""
    file = shutil.copy(sqlite_template, tmp_path_factory.mktemp("order") / "city.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "Bus", lambda: ReorderedBus(request.param))
        async with in_process_city(f"sqlite:///{file}") as city:
            yield city


@asynccontextmanager
async def room_socket(city: InProcessCity) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general"
    async with city.session.ws_connect(url) as socket:
        await eventually(lambda: _is_subscribed(city))
        yield socket


async def _is_subscribed(city: InProcessCity) -> bool:
    return any(room.listeners for room in city.city.room_streams._streams.values())


async def receive(socket: aiohttp.ClientWebSocketResponse, event: str, **fields: str) -> dict[str, Any]:
    """Receive frames up to the next one with this ``event`` and these ``fields``."""
    while True:
        frame: dict[str, Any] = await next_frame(socket)
        if frame["event"] == event and frame.items() >= fields.items():
            return frame


async def change_membership(city: InProcessCity, user: UserId, *, joins: bool) -> None:
    log = city.city.room_members
    async with city.city.database.transaction() as tx:
        events = await (
            log.join(tx, GENERAL, [Member(GENERAL, user, user)]) if joins else log.leave(tx, GENERAL, [user])
        )
    for event in events:
        city.city.bus.publish(event)


async def set_presence(city: InProcessCity, citizen: str, status: Status) -> None:
    await city.city.presence.record_heartbeat([Heartbeat(SubjectId(citizen), status)])


async def test_online_counts_of_frames_include_the_change(city: InProcessCity) -> None:
    async with room_socket(city) as socket:
        await set_presence(city, "u_1", Status.ONLINE)
        assert (await city.call("POST", "/city/rooms/general/join", token=OKSANA)).status == 200
        join = await receive(socket, "city.room.join")
        assert (join["member"]["id"], join["members_online"]) == ("u_1", 1)
        # A join within the tick that collects presence changes is followed by the frame of the change before it.
        await set_presence(city, "u_1", Status.OFFLINE)
        assert (await receive(socket, "city.room.presence", status="offline"))["members_online"] == 0
        await set_presence(city, "u_1", Status.ONLINE)
        assert (await receive(socket, "city.room.presence", status="online"))["members_online"] == 1
        assert (await city.call("POST", "/city/rooms/general/leave", token=OKSANA)).status == 200
        assert (await receive(socket, "city.room.leave"))["members_online"] == 0


async def test_room_list_counts_include_the_change(city: InProcessCity) -> None:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/presence?batch=1&rooms=1"
    async with city.session.ws_connect(url) as socket:
        await next_frame(socket)
        await set_presence(city, "u_2", Status.ONLINE)
        assert (await city.call("POST", "/city/rooms/general/join", token=TARAS)).status == 200
        rooms = (await receive(socket, "city.rooms.updated"))["rooms"]
        assert [(room["slug"], room["members_online"]) for room in rooms] == [("general", 1)]
    assert (await city.call("POST", "/city/rooms/general/leave", token=TARAS)).status == 200


async def test_coverage_requests_presence_of_new_member(city: InProcessCity) -> None:
    coverage = city.city.observer_coverage
    await change_membership(city, ALICE, joins=True)
    coverage.begin_sync()
    coverage.end_sync(frozenset({GENERAL}))
    assert coverage.covers(ALICE)
    # A repeated join, as a change of the display name causes, needs no request.
    city.city.bus.publish(MembershipChanged(GENERAL, SubjectId(ALICE), joined=True))
    assert coverage.covers(ALICE)
    await change_membership(city, BOB, joins=True)
    assert not coverage.covers(BOB)
    coverage.mark_received([BOB])
    assert coverage.covers(BOB)
    await change_membership(city, ALICE, joins=False)
    assert await coverage.next_user() == ALICE


async def test_lost_membership_event_is_loaded_from_database(city: InProcessCity) -> None:
    log = city.city.room_members
    async with city.city.database.transaction() as tx:
        await log.join(tx, GENERAL, [Member(GENERAL, CAROL, "Carol")])
    assert not city.city.online_members.is_member(GENERAL, SubjectId(CAROL))
    await city.city.memberships.load()
    assert city.city.online_members.is_member(GENERAL, SubjectId(CAROL))


async def test_posting_ends_typing(city: InProcessCity) -> None:
    async with room_socket(city) as socket:
        answer = await city.call("PUT", "/city/rooms/general/typing", {"typing": True}, token=OKSANA)
        assert answer.status == 200, answer
        assert (await receive(socket, "city.room.typing"))["typing"] == ["u_1"]
        assert (await city.call("POST", "/city/rooms/general/messages", {"body": "x"}, token=OKSANA)).status == 201
        frames = {(await next_frame(socket))["event"] for _ in range(2)}
        assert frames == {"city.room.message", "city.room.typing"}
        assert city.city.room_typing.of(GENERAL) == frozenset()
