"""Names and avatars in the frames of presence: of citizens, agents and Matrix users, also after a change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.types import CitizenId, HistoryVisibility, Member, RoomId, SubjectId, UserId
from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

OKSANA = citizen_token("u_1", "Оксана")
GENERAL, ALICE = RoomId("city_general"), UserId("@alice:hs")
FACE = "mxc://hs/alice"

Frame = dict[str, Any]


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


@asynccontextmanager
async def listening(city: InProcessCity, query: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/presence{query}"
    async with city.session.ws_connect(url) as socket:
        yield socket


async def until(socket: aiohttp.ClientWebSocketResponse, condition: Callable[[Frame], bool]) -> Frame:
    while True:
        frame: Frame = await next_frame(socket)
        if condition(frame):
            return frame


def names(subject: str, name: str | None) -> Callable[[Frame], bool]:
    return lambda frame: frame.get("user_id") == subject and frame["display_name"] == name


async def beat(city: InProcessCity, subject: str, status: Status = Status.ONLINE) -> None:
    await city.city.presence.record_heartbeat([Heartbeat(SubjectId(subject), status)])


async def put_member(city: InProcessCity, member: Member) -> None:
    async with city.city.database.transaction() as tx:
        events = await city.city.room_members.join(tx, member.room_id, [member])
    for event in events:
        city.city.bus.publish(event)


async def test_citizen_has_name_in_update_and_snapshot(city: InProcessCity) -> None:
    async with listening(city) as socket:
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=OKSANA)
        # The first frame may come before the name was read; then another one has it.
        frame = await until(socket, names("u_1", "Оксана"))
        assert (frame["event"], frame["avatar_url"]) == ("presence.update", None)
    async with listening(city) as socket:
        (user,) = (await next_frame(socket))["users"]
        assert (user["user_id"], user["display_name"], user["avatar_url"]) == ("u_1", "Оксана", None)


async def test_new_name_is_sent_with_next_frame_and_resync(city: InProcessCity) -> None:
    async with listening(city, "?batch=1") as socket:
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=OKSANA)
        frame = await until(socket, lambda frame: frame["event"] == "presence.updates")
        await city.call("PATCH", "/city/me", {"display_name": "Оксана Київська"}, token=OKSANA)
        await until(
            socket,
            lambda frame: (
                frame["event"] == "presence.updates" and frame["updates"][0]["display_name"] == "Оксана Київська"
            ),
        )
    # The change of the name has no number, so that a client without it gets everything.
    async with listening(city, f"?since={frame['seq']}") as socket:
        await until(socket, lambda frame: frame["event"] == "presence.resync")
        snapshot = await until(socket, lambda frame: frame["event"] == "presence.snapshot")
        assert snapshot["users"][0]["display_name"] == "Оксана Київська"


async def test_name_of_new_token_is_sent(city: InProcessCity) -> None:
    async with listening(city) as socket:
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=OKSANA)
        await until(socket, names("u_1", "Оксана"))
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=citizen_token("u_1", "Оксана П."))
        await until(socket, names("u_1", "Оксана П."))


async def test_agent_has_registered_name(city: InProcessCity) -> None:
    async with listening(city) as socket:
        await beat(city, "agent:scribe")
        await until(socket, names("agent:scribe", "Писар"))


async def test_matrix_user_has_profile_of_public_room(city: InProcessCity) -> None:
    await put_member(city, Member(GENERAL, ALICE, "Alice", FACE))
    async with listening(city) as socket:
        await beat(city, ALICE)
        frame = await until(socket, names(ALICE, "Alice"))
        assert frame["avatar_url"] == "/city/media/hs/alice"
        await put_member(city, Member(GENERAL, ALICE, "Alice Liddell", FACE))
        await until(socket, names(ALICE, "Alice Liddell"))


async def test_name_of_private_room_is_not_sent(city: InProcessCity) -> None:
    private = RoomId("city_builders")
    async with city.city.database.transaction() as tx:
        await tx.rooms.set_rules(private, join_rule="invite", history_visibility=HistoryVisibility.JOINED)
    await put_member(city, Member(private, ALICE, "Таємна Аліса", FACE))
    async with listening(city) as socket:
        await beat(city, ALICE)
        frame = await until(socket, names(ALICE, None))
        assert frame["avatar_url"] is None
        # The first public room makes the name public.
        await put_member(city, Member(GENERAL, ALICE, "Alice"))
        await until(socket, names(ALICE, "Alice"))


async def test_linked_person_has_profile_of_account(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_1"), ALICE, "Alice", FACE), now_ms=1)
    await city.city.account_cache.load()
    async with listening(city) as socket:
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=OKSANA)
        frame = await until(socket, names(ALICE, "Alice"))
        assert frame["avatar_url"] == "/city/media/hs/alice"
        async with city.city.database.transaction() as tx:
            await tx.accounts.set_profile(ALICE, "Alice Liddell", FACE)
        await city.city.account_cache.load()
        await until(socket, names(ALICE, "Alice Liddell"))


async def test_event_stream_has_names(city: InProcessCity) -> None:
    await city.call("POST", "/api/v1/presence/heartbeat", {}, token=OKSANA)
    url = f"http://{HOST}:{city.city.settings.api.port}/api/v1/presence/stream"
    async with asyncio.timeout(WAIT_S), city.session.get(url) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                event = orjson.loads(line.removeprefix(b"data: "))
                # The heartbeat is in the snapshot, or in an event that follows; the name is in the one after it was read.
                if any(user["display_name"] == "Оксана" for user in event.get("users", [event])):
                    return


async def test_presence_is_sent_without_database(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        async with city.city.database.transaction() as tx:
            await tx.connection.exec_driver_sql("ALTER TABLE citizens RENAME TO gone")
        async with listening(city) as socket:
            await beat(city, "u_1")
            await until(socket, names("u_1", None))
