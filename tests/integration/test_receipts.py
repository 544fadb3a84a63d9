"""Tests of the messages that read receipts of Matrix users and citizens mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.parts.city import eventually
from tests.parts.private_room import (
    ALICE,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
)
from tests.parts.receipts import BORYS, RECEIPTS, ReceiptHarness, open_receipts
from tests.parts.scripted_homeserver import Reply


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptHarness]:
    async with open_receipts(database_url, monkeypatch) as harness:
        yield harness


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
    await harness.until_listed(u_1=message)  # Taras is not a member.


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
