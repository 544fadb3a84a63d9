"""Changes of rooms on ``/ws/city/presence?rooms=1``: what lists of rooms show, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

import pytest

from daarion_appservice.city.events import BusEventsLost, RoomChanged
from daarion_appservice.city.types import HistoryVisibility, RoomId
from daarion_appservice.errors import DatabaseUnavailable
from daarion_appservice.http.websocket import presence
from daarion_appservice.http.websocket.socket_writer import SocketWriter
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.presence_socket import Socket, connected, until

TARAS, DANA = citizen_token("u_taras", "Тарас"), citizen_token("u_dana", "Дана")
GENERAL = "/city/rooms/general"


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def ok(city: InProcessCity, method: str, path: str, content: Any = ..., token: str = TARAS) -> Any:
    answer = await city.call(method, path, content, token=token)
    assert answer.status in {200, 201}, answer
    return answer.content


def shows(socket: Socket, slug: str, **wanted: Any) -> Callable[[], bool]:
    return lambda: (room := socket.room(slug)) is not None and wanted.items() <= room.items()


async def make_private(city: InProcessCity, slug: str) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock(slug)
        assert room is not None
        await tx.rooms.set_rules(room.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED)


async def test_message_update_matches_room_list(city: InProcessCity) -> None:
    async with connected(city) as socket, connected(city, "?batch=1") as other:
        await ok(city, "POST", f"{GENERAL}/messages", {"body": "hello"})
        listed = (await city.get("/city/rooms?ids=general"))[0]
        await until(shows(socket, "general", last_seq=listed["last_seq"], last_event=listed["last_event"]))
        room = socket.room("general")
        assert room is not None
        assert room.keys() == listed.keys()
        assert other.room("general") is None


async def test_change_before_the_end_of_the_snapshot_follows_it(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client reads the list of rooms once it is connected; a slow one has the snapshot long after."""
    waiting, sent = asyncio.Event(), asyncio.Event()
    send = SocketWriter.send

    async def send_late(writer: SocketWriter, frames: Iterable[bytes]) -> None:
        waiting.set()
        await sent.wait()
        await send(writer, frames)

    monkeypatch.setattr(SocketWriter, "send", send_late)
    monkeypatch.setattr(presence, "_MAX_WAITING_FRAMES", 1)
    url = f"http://{HOST}:{city.city.settings.api.port}{presence.PATH}?batch=1&rooms=1"

    async def first_events(*bodies: str) -> list[str]:
        async with city.session.ws_connect(url) as socket:
            await waiting.wait()
            (session,) = cast("set[Any]", city.city.room_updates._listeners)
            for body in bodies:
                await ok(city, "POST", f"{GENERAL}/messages", {"body": body})
                before = list(session._waiting_frames)
                await until(lambda before=before: session._waiting_frames != before)  # type: ignore[misc]
            sent.set()
            return [(await next_frame(socket))["event"] for _ in range(2)]

    assert await first_events("1") == ["presence.snapshot", "city.rooms.updated"]
    await until(lambda: not city.city.room_updates._listeners)
    waiting.clear()
    sent.clear()
    assert await first_events("2", "3") == ["presence.snapshot", "city.rooms.resync"]


async def test_members_online_follows_joins_and_presence(city: InProcessCity) -> None:
    async with connected(city) as socket:
        await ok(city, "POST", f"{GENERAL}/join")
        async with connected(city, "", TARAS) as taras:
            await taras.socket.send_json({"event": "presence.heartbeat"})
            await until(shows(socket, "general", members_online=1))
            await taras.socket.send_json({"event": "presence.offline"})
            await until(shows(socket, "general", members_online=0))
            await taras.socket.send_json({"event": "presence.heartbeat"})
            await until(shows(socket, "general", members_online=1))
            await ok(city, "POST", f"{GENERAL}/leave")
            await until(shows(socket, "general", members_online=0))


async def test_room_changes_are_sent_to_listeners(city: InProcessCity) -> None:
    async with connected(city) as socket:
        await ok(city, "POST", "/city/rooms", {"name": "Science"})
        await until(shows(socket, "science", name="Science"))
        await ok(city, "PATCH", "/city/rooms/science", {"name": "Physics"}, ADMIN_TOKEN)
        await until(shows(socket, "science", name="Physics"))
        await ok(city, "PATCH", "/city/rooms/science", {"archived": True}, ADMIN_TOKEN)
        await until(shows(socket, "science", archived=True))


async def test_private_room_is_sent_to_members_only(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms", {"name": "Secret"})
    await ok(city, "POST", "/city/rooms/secret/join", token=DANA)
    await make_private(city, "secret")
    async with connected(city) as anonymous, connected(city, token=TARAS) as taras, connected(city, token=DANA) as dana:
        async with city.city.database.read_only() as tx:
            room = await tx.rooms.find("secret")
        assert room is not None
        city.city.bus.publish(RoomChanged(room))
        await until(shows(dana, "secret", name="Secret"))
        # Told after the private room: what comes by then is all that others are told of it.
        await ok(city, "POST", f"{GENERAL}/messages", {"body": "hello"})
        for other in (anonymous, taras):
            await until(lambda other=other: other.room("general") is not None)  # type: ignore[misc]
            assert other.room("secret") is None


async def test_missed_events_of_other_processes_are_a_resync(city: InProcessCity) -> None:
    async with connected(city) as socket:
        city.city.bus.publish(BusEventsLost())
        await until(lambda: {"event": "city.rooms.resync"} in socket.events)


async def test_changes_wait_while_the_database_is_away(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    updates, calls = city.city.room_updates, 0
    read = updates._send_rooms

    async def fails_once(ids: list[RoomId]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise DatabaseUnavailable("away")
        await read(ids)

    monkeypatch.setattr(updates, "_send_rooms", fails_once)
    async with connected(city) as socket:
        await ok(city, "POST", f"{GENERAL}/messages", {"body": "hello"})
        await until(lambda: socket.room("general") is not None)
