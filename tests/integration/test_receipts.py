"""Read receipts of Matrix users and citizens: the messages that they mean, who gets them, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId, RoomId
from daarion_appservice.realtime import receipt_writer
from daarion_appservice.realtime.receipt_writer import ReceiptWriter
from tests.parts.city import eventually
from tests.parts.ports import HOST
from tests.parts.private_room import (
    ALICE,
    BOT,
    GENERAL,
    MATRIX_ROOM,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    TARAS_GHOST,
    PrivateRoom,
    private_room,
)
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver

BORYS = "@borys:city.localhost"
RECEIPTS = "/city/rooms/general/receipts"


@dataclass
class ReceiptHarness:
    """A room with readers, whose receipts come by sync responses; ``frames`` is what a WebSocket received."""

    room: PrivateRoom
    homeserver: ScriptedHomeserver
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def read(self, event: str, *users: str, thread_id: str | None = None, kind: str = "m.read") -> None:
        more = {} if thread_id is None else {"thread_id": thread_id}
        content = {event: {kind: {user: {"ts": 1_700_000_000_000} | more for user in users}}}
        await self.apply({"events": [{"type": "m.receipt", "content": content}]})

    async def apply(self, ephemeral: Any) -> None:
        response = {"rooms": {"join": {MATRIX_ROOM: {"ephemeral": ephemeral}}}}
        await self.room.city.city.remote_receipts.apply_sync(response, {MatrixRoomId(MATRIX_ROOM): GENERAL})

    @property
    def writer(self) -> ReceiptWriter:
        return self.room.city.city.receipt_writer

    def hold_writer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let receipts wait until ``write``."""
        monkeypatch.setattr(self.writer, "_tick_s", 3600.0)

    async def until_waiting(self, count: int, message: str | None = None) -> None:
        """Wait until the writer has this many receipts, all at ``message`` if it is given."""

        async def are_waiting() -> bool:
            positions = self.writer._pending.values()
            return len(positions) == count and all(message in {None, each.message_id} for each in positions)

        await eventually(are_waiting, explain=lambda: str(self.writer._pending))

    async def write(self) -> None:
        """Write the receipts that wait."""
        self.writer._tick_s = 0.0
        await self.writer._write()

    async def message_id(self, event: str) -> str:
        async with self.room.city.city.database.read_only() as tx:
            return (await tx.receipts.places(GENERAL, [event]))[event].id  # type: ignore[list-item,index]

    async def listed(self, query: str = "", token: str | None = None) -> dict[str, str]:
        found = await self.room.city.get(f"{RECEIPTS}{query}", token=token)
        return {each["user_id"]: each["message_id"] for each in found}

    async def until_listed(self, query: str = "", **wanted: str) -> None:
        """Wait until the receipts are these; wanted by ``alice``, ``borys``, or a citizen's id."""
        users = {"alice": ALICE, "borys": BORYS}
        expected = {users.get(name, name): message for name, message in wanted.items()}

        async def is_so() -> bool:
            return await self.listed(query) == expected

        await eventually(is_so, explain=lambda: f"{expected}, {self.frames}")

    async def until_frames(self, count: int) -> list[dict[str, Any]]:
        async def are_there() -> bool:
            return len(self.frames) >= count

        await eventually(are_there, explain=lambda: str(self.frames))
        return self.frames


@asynccontextmanager
async def listening(
    harness: ReceiptHarness, frames: list[dict[str, Any]], token: str | None = None
) -> AsyncIterator[None]:
    city = harness.room.city
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general" + (f"?token={token}" if token else "")
    streams = city.city.room_streams._streams
    before = sum(len(each.listeners) for each in streams.values())
    async with city.session.ws_connect(url) as socket:

        async def receive() -> None:
            async for frame in socket:
                content = frame.json()
                if content["event"] == "city.room.read":
                    frames.append(content)

        receiving = asyncio.create_task(receive())

        async def is_subscribed() -> bool:
            return sum(len(each.listeners) for each in streams.values()) > before

        await eventually(is_subscribed)
        yield
        receiving.cancel()


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptHarness]:
    homeserver = ScriptedHomeserver()
    async with (
        homeserver.serving(),
        private_room(database_url, homeserver={"address": homeserver.url, "domain": "city.localhost"}) as room,
    ):
        city = room.city.city
        city.monitor.mark_up()
        # Nothing arrives late in most of these tests.
        monkeypatch.setattr(city.remote_receipts, "_patience_s", 0.2)
        monkeypatch.setattr("daarion_appservice.matrix.presence.receipts._RETRY_S", 0.05)
        monkeypatch.setattr(city.receipt_writer, "_tick_s", 0.02)
        for user in (ALICE, BORYS, OKSANA_GHOST):
            await room.member(user, "join")
        running = [asyncio.create_task(work()) for work in (city.receipt_writer.run, city.remote_receipts.run)]
        harness = ReceiptHarness(room, homeserver)
        async with listening(harness, harness.frames):
            yield harness
        for task in running:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_receipt_of_matrix_user_is_listed_and_sent(harness: ReceiptHarness) -> None:
    first = await harness.room.receive_text("перше")
    second = await harness.room.receive_text("друге", sender=BORYS)
    await harness.read(first, ALICE)
    (frame,) = await harness.until_frames(1)
    assert frame == {
        "event": "city.room.read",
        "room_id": "city_general",
        "user_id": ALICE,
        "reader": {
            "kind": "matrix",
            "id": ALICE,
            "display_name": ALICE,
            "matrix_user_id": ALICE,
            "avatar_url": None,
        },
        "message_id": await harness.message_id(first),
        "thread_root": None,
        "read_at": "2023-11-14T22:13:20.000Z",
    }
    listed = await harness.room.city.get(RECEIPTS)
    assert listed == [{key: value for key, value in frame.items() if key not in {"event", "room_id"}}]
    await harness.read(second, ALICE, BORYS)
    await harness.until_listed(alice=await harness.message_id(second), borys=await harness.message_id(second))


async def test_receipt_never_moves_backwards(harness: ReceiptHarness) -> None:
    events = [await harness.room.receive_text(str(number)) for number in range(3)]
    ids = [await harness.message_id(event) for event in events]
    await harness.read(events[2], ALICE)
    await harness.until_listed(alice=ids[2])
    await harness.read(events[0], ALICE)
    await harness.read(events[1], BORYS)
    await harness.until_listed(alice=ids[2], borys=ids[1])
    assert [each["message_id"] for each in harness.frames] == [ids[2], ids[1]]


async def test_read_mark_of_citizen_is_a_receipt(harness: ReceiptHarness) -> None:
    message = await harness.message_id(await harness.room.receive_text("перше"))
    for token in (OKSANA, TARAS):
        answer = await harness.room.city.call("PUT", "/city/rooms/general/read", {"message_id": message}, token=token)
        assert answer.status == 204
    (frame,) = await harness.until_frames(1)
    assert (frame["user_id"], frame["reader"]["matrix_user_id"]) == ("u_1", OKSANA_GHOST)
    await harness.until_listed(u_1=message)  # Taras is no member.


async def test_event_after_its_receipt_is_found(harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.room.city.city.remote_receipts, "_patience_s", 10.0)
    await harness.read(f"${harness.room.count + 1}", ALICE)
    await asyncio.sleep(0.2)
    event = await harness.room.receive_text("перше")
    await harness.until_listed(alice=await harness.message_id(event))
    assert harness.homeserver.all("event") == []


async def test_reader_whose_join_is_late_is_listed(harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.room.city.city.remote_receipts, "_patience_s", 10.0)
    event = await harness.room.receive_text("перше")
    await harness.read(event, "@zoja:city.localhost")
    await asyncio.sleep(0.2)
    assert (await harness.listed(), harness.frames) == ({}, [])
    await harness.room.member("@zoja:city.localhost", "join")
    await harness.until_listed(**{"@zoja:city.localhost": await harness.message_id(event)})


async def test_receipt_at_edit_means_newest_message_then(harness: ReceiptHarness) -> None:
    first = await harness.room.receive_text("перше")
    second = await harness.room.receive_text("друге")
    content = {"msgtype": "m.text", "body": "* 1", "m.new_content": {"msgtype": "m.text", "body": "1"}}
    relation = {"rel_type": "m.replace", "event_id": first}
    edit = await harness.room.receive("m.room.message", content | {"m.relates_to": relation})
    await harness.room.receive_text("третє")
    await harness.read(edit, BORYS)
    await harness.until_listed(borys=await harness.message_id(second))
    assert harness.homeserver.all("event") == []


@pytest.mark.parametrize(
    ("event_type", "content", "more"),
    [
        ("m.room.avatar", {}, {"state_key": ""}),
        ("m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$4", "key": "🌻"}}, {}),
    ],
)
async def test_receipt_at_other_event_means_message_before(
    harness: ReceiptHarness, event_type: str, content: Any, more: dict[str, Any]
) -> None:
    first = await harness.room.receive_text("перше")
    assert first == "$4"
    other = await harness.room.receive(event_type, content, **more)
    at_ms = 1_700_000_000_000 + harness.room.count
    await harness.room.receive_text("друге")
    harness.homeserver.next("event", Reply(200, {"type": event_type, "origin_server_ts": at_ms}))
    await harness.read(other, ALICE, BORYS)
    message = await harness.message_id(first)
    await harness.until_listed(alice=message, borys=message)
    assert [received.path["event"] for received in harness.homeserver.all("event")] == [other]


@pytest.mark.parametrize("answer", [Reply(404, {"errcode": "M_NOT_FOUND"}), Reply(200, {"origin_server_ts": "x"})])
async def test_receipt_at_unknown_event_is_dropped(harness: ReceiptHarness, answer: Reply) -> None:
    event = await harness.room.receive_text("перше")
    harness.homeserver.next("event", answer)
    await harness.read("$unknown", ALICE)

    async def is_asked() -> bool:
        return len(harness.homeserver.all("event")) == 1

    await eventually(is_asked)
    await harness.read(event, BORYS)
    await harness.until_listed(borys=await harness.message_id(event))


async def test_receipt_at_deleted_message_means_one_before(harness: ReceiptHarness) -> None:
    first, second = [await harness.room.receive_text(body) for body in ("перше", "друге")]
    await harness.room.receive("m.room.redaction", {"redacts": second}, redacts=second)
    await harness.read(second, BORYS)
    await harness.until_listed(borys=await harness.message_id(first))


async def test_threads_have_receipts_of_their_own(harness: ReceiptHarness) -> None:
    root = await harness.room.receive_text("корінь")
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    reply = await harness.room.receive("m.room.message", {"msgtype": "m.text", "body": "у нитці"} | relation)
    await harness.room.receive_text("потім")
    root_id, reply_id = await harness.message_id(root), await harness.message_id(reply)
    in_thread = f"?thread_root={root_id}"
    await harness.read(reply, ALICE, thread_id=root)
    await harness.until_listed(in_thread, alice=reply_id)
    assert await harness.listed() == {}
    assert [each["thread_root"] for each in harness.frames] == [root_id]
    await harness.read(reply, BORYS)
    await harness.until_listed(in_thread, alice=reply_id, borys=reply_id)
    await harness.until_listed(borys=root_id)


async def test_private_and_own_receipts_are_not_shown(harness: ReceiptHarness) -> None:
    event = await harness.room.receive_text("перше")
    await harness.read(event, ALICE, kind="m.read.private")
    await harness.read(event, OKSANA_GHOST, BOT)
    await harness.read(event, BORYS)
    await harness.until_listed(borys=await harness.message_id(event))
    assert [each["user_id"] for each in harness.frames] == [BORYS]


async def test_receipts_of_former_members_are_not_listed(harness: ReceiptHarness) -> None:
    event = await harness.room.receive_text("перше")
    await harness.read(event, ALICE, BORYS)
    message = await harness.message_id(event)
    await harness.until_listed(alice=message, borys=message)
    await harness.room.member(BORYS, "leave")
    await harness.until_listed(alice=message)


async def test_receipt_of_reader_who_left_meanwhile_is_not_sent(
    harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.hold_writer(monkeypatch)
    event = await harness.room.receive_text("перше")
    await harness.read(event, ALICE, BORYS)
    await harness.until_waiting(2)
    await harness.room.member(ALICE, "leave")
    await harness.write()
    (frame,) = await harness.until_frames(1)
    assert frame["user_id"] == BORYS
    await harness.until_listed(borys=await harness.message_id(event))


async def test_receipts_of_private_room_are_for_members(harness: ReceiptHarness) -> None:
    public = await harness.room.receive_text("для всіх")
    await harness.room.member(TARAS_GHOST, "join")
    await harness.read(public, ALICE)
    message = await harness.message_id(public)
    await harness.until_listed(alice=message)
    await harness.room.set_visibility("joined")
    assert await harness.listed() == {}
    assert await harness.listed(token=OKSANA) == {ALICE: message}
    assert (await harness.room.city.call("GET", "/city/rooms/nowhere/receipts")).status == 404


async def test_receipt_at_unreadable_message_is_hidden(harness: ReceiptHarness) -> None:
    """A message from before a reader's membership, in a room that only members could read then."""
    await harness.room.set_visibility("joined")
    secret = await harness.room.receive_text("до того")
    await harness.room.set_visibility("world_readable", "public")
    shown = await harness.room.receive_text("для всіх")
    frames: list[dict[str, Any]] = []
    async with listening(harness, frames, OKSANA), listening(harness, harness.frames):
        await harness.read(secret, ALICE)

        async def is_sent() -> bool:
            return bool(frames)

        await eventually(is_sent)
        assert await harness.listed(token=OKSANA) == {ALICE: await harness.message_id(secret)}
        assert await harness.listed() == {}
        await harness.read(shown, BORYS)
        await harness.until_frames(1)
        assert [each["user_id"] for each in harness.frames] == [BORYS]


async def test_flood_of_receipts_is_combined(harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.hold_writer(monkeypatch)
    events = [await harness.room.receive_text(str(number)) for number in range(30)]
    for event in events:
        await harness.read(event, ALICE)
        await asyncio.sleep(0.005)
    last = await harness.message_id(events[-1])
    await harness.until_waiting(1, last)
    await harness.write()
    await harness.until_listed(alice=last)
    await harness.until_frames(1)
    assert [frame["message_id"] for frame in harness.frames] == [last]


async def test_many_readers_are_sent_in_portions(harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_writer, "_MAX_OF_ROOM", 2)
    harness.hold_writer(monkeypatch)
    readers = [f"@reader{number}:city.localhost" for number in range(6)]
    for reader in readers:
        await harness.room.member(reader, "join")
    first, second = [await harness.room.receive_text(body) for body in ("перше", "друге")]
    oldest, newest = await harness.message_id(first), await harness.message_id(second)
    await harness.read(first, *readers)
    await harness.until_waiting(6, oldest)
    assert len(harness.writer._next_batch()) == 2
    await harness.read(second, *readers)
    await harness.until_waiting(6, newest)
    await harness.write()
    await harness.until_listed(**dict.fromkeys(readers, newest))
    await harness.until_frames(6)
    # The receipts that waited were replaced.
    assert [frame["message_id"] for frame in harness.frames] == [newest] * 6


async def test_initial_sync_reads_newest_receipts_of_room(
    harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daarion_appservice.matrix.presence.receipts._MAX_OF_ROOM", 1)
    event = await harness.room.receive_text("перше")
    receipts = {ALICE: {"ts": 1}, BORYS: {"ts": 2}}
    await harness.apply({"events": [{"type": "m.receipt", "content": {event: {"m.read": receipts}}}]})
    await harness.until_listed(borys=await harness.message_id(event))


@pytest.mark.parametrize("broken", [None, [], 5, {}, {"events": None}, {"events": [None, 5, {}]}], ids=repr)
async def test_malformed_room_loses_no_receipts_of_others(harness: ReceiptHarness, broken: Any) -> None:
    event = await harness.room.receive_text("перше")
    receipts = {"type": "m.receipt", "content": {event: {"m.read": {ALICE: {"ts": 1}}}}}
    rooms = {
        "!other": {"ephemeral": broken},
        "!none": None,
        MATRIX_ROOM: {"ephemeral": {"events": [receipts]}},
    }
    city = harness.room.city.city
    both = {MatrixRoomId("!other"): RoomId("city_builders"), MatrixRoomId(MATRIX_ROOM): GENERAL}
    await city.remote_receipts.apply_sync({"rooms": {"join": rooms}}, both)
    await harness.until_listed(alice=await harness.message_id(event))
    for response in ({"rooms": None}, {"rooms": {"join": None}}, {}):
        await city.remote_receipts.apply_sync(response, both)


async def test_many_receipts_leave_the_loop_to_others(harness: ReceiptHarness) -> None:
    event = await harness.room.receive_text("перше")
    receipts = {f"@u{number}:city.localhost": {"ts": number} for number in range(20_000)}
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    try:
        await harness.apply({"events": [{"type": "m.receipt", "content": {event: {"m.read": receipts}}}]})
    finally:
        others.cancel()
    assert turns >= 20


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "thread_root=" + "x" * 65])
async def test_invalid_receipt_query_is_refused(harness: ReceiptHarness, query: str) -> None:
    assert (await harness.room.city.call("GET", f"{RECEIPTS}?{query}")).status in {400, 422}
