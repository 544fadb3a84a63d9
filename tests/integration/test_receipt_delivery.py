"""Tests of the read receipts that are shown and sent: to whom, in which portions, and of which rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId, RoomId
from daarion_appservice.realtime import receipt_writer
from tests.parts.city import eventually
from tests.parts.private_room import (
    ALICE,
    BOT,
    GENERAL,
    MATRIX_ROOM,
    OKSANA,
    OKSANA_GHOST,
    TARAS_GHOST,
)
from tests.parts.receipts import BORYS, RECEIPTS, ReceiptHarness, listening, open_receipts


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptHarness]:
    async with open_receipts(database_url, monkeypatch) as harness:
        yield harness


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


async def test_receipt_of_reader_who_left_is_not_sent(harness: ReceiptHarness, monkeypatch: pytest.MonkeyPatch) -> None:
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
    await city.remote_receipts.apply_sync({"rooms": {"join": rooms}}, both, observer=city.identities.observer)
    await harness.until_listed(alice=await harness.message_id(event))
    for response in ({"rooms": None}, {"rooms": {"join": None}}, {}):
        await city.remote_receipts.apply_sync(response, both, observer=city.identities.observer)


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
