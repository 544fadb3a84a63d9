"""To-device messages, undecrypted events and ciphertexts that wait in the database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from daarion_appservice.city.types import EventId, MessageId
from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.encryption.to_device_outbox import ToDeviceRow
from tests.parts.encryption_rows import (
    ALICE,
    EMOJI_DEVICE,
    GUIDE,
    NOW_MS,
    OTHER_ROOM,
    OTHER_SESSION,
    ROOM,
    SCRIBE,
    SESSION,
    entry,
    undecrypted_row,
)
from tests.parts.encryption_tables import undecrypted_of

MESSAGES: dict[str, dict[str, Any]] = {ALICE: {EMOJI_DEVICE: {"body": "Привіт 😀\0", "number": 2**53}}}
ENCRYPTED = "m.room.encrypted"

# --- to-device messages -------------------------------------------------------------------------------


async def test_to_device_messages_wait_in_order(tx: Transaction) -> None:
    outbox = tx.to_device_outbox
    first = await outbox.add(SCRIBE, ENCRYPTED, "t2", MESSAGES, now_ms=NOW_MS)
    other = await outbox.add(GUIDE, ENCRYPTED, "t2", {}, now_ms=NOW_MS)
    second = await outbox.add(SCRIBE, "m.room_key.withheld", "t1", {}, now_ms=NOW_MS - 1)
    assert await outbox.waiting(SCRIBE) == [
        ToDeviceRow(first, SCRIBE, ENCRYPTED, "t2", MESSAGES),
        ToDeviceRow(second, SCRIBE, "m.room_key.withheld", "t1", {}),
    ]
    assert [row.id for row in await outbox.waiting(GUIDE)] == [other]


async def test_ghosts_wait_in_order_of_oldest_message(tx: Transaction) -> None:
    outbox = tx.to_device_outbox
    assert await outbox.ghosts_waiting() == []
    oldest = await outbox.add(SCRIBE, ENCRYPTED, "t1", {}, now_ms=NOW_MS)
    await outbox.add(GUIDE, ENCRYPTED, "t1", {}, now_ms=NOW_MS)
    await outbox.add(SCRIBE, ENCRYPTED, "t2", {}, now_ms=NOW_MS)
    assert await outbox.ghosts_waiting() == [SCRIBE, GUIDE]
    await outbox.delete(oldest)
    assert await outbox.ghosts_waiting() == [GUIDE, SCRIBE]


async def test_id_of_deleted_message_is_not_reused(tx: Transaction) -> None:
    deleted = await tx.to_device_outbox.add(SCRIBE, ENCRYPTED, "t1", {}, now_ms=NOW_MS)
    await tx.to_device_outbox.delete(deleted)
    assert await tx.to_device_outbox.add(SCRIBE, ENCRYPTED, "t1", {}, now_ms=NOW_MS) > deleted


async def test_to_device_transaction_id_is_unique(tx: Transaction) -> None:
    await tx.to_device_outbox.add(SCRIBE, ENCRYPTED, "t1", {}, now_ms=NOW_MS)
    with pytest.raises(IntegrityError):
        async with tx.connection.begin_nested():
            await tx.to_device_outbox.add(SCRIBE, ENCRYPTED, "t1", {}, now_ms=NOW_MS)


# --- undecrypted events -------------------------------------------------------------------------------


async def test_undecrypted_event_is_stored_once(tx: Transaction) -> None:
    row = replace(
        undecrypted_row(event='{"a":"😀\\u0000"}'.encode()), after_message=MessageId("0" * 26), is_announced=True
    )
    await tx.undecrypted.add(row)
    await tx.undecrypted.add(undecrypted_row(next_try_ms=0))
    stored = await tx.undecrypted.get(row.event_id)
    assert stored == row
    assert await tx.undecrypted.get(EventId("$2")) is None
    assert await tx.undecrypted.count() == 1


async def test_due_events_are_longest_overdue_first(tx: Transaction) -> None:
    late, first, second, early = (
        undecrypted_row("$a", next_try_ms=NOW_MS + 1),
        undecrypted_row("$c"),
        undecrypted_row("$b"),
        undecrypted_row("$d", next_try_ms=NOW_MS - 1),
    )
    for row in (late, first, second, early):
        await tx.undecrypted.add(row)
    assert await tx.undecrypted.due(NOW_MS, 9) == [early, first, second]
    assert await tx.undecrypted.due(NOW_MS, 2) == [early, first]
    assert await tx.undecrypted.next_try_ms() == NOW_MS - 1


async def test_no_attempt_is_due_without_events(tx: Transaction) -> None:
    assert await tx.undecrypted.next_try_ms() is None
    assert await tx.undecrypted.due(NOW_MS, 9) == []
    assert await tx.undecrypted.count() == 0


async def test_undecrypted_events_keep_order_of_arrival(tx: Transaction) -> None:
    rows = [undecrypted_row("$c"), undecrypted_row("$b", session_id=OTHER_SESSION), undecrypted_row("$a")]
    for row in (*rows, undecrypted_row("$d", room=OTHER_ROOM)):
        await tx.undecrypted.add(row)
    assert await undecrypted_of(tx, ROOM) == rows
    assert await tx.undecrypted.due(NOW_MS, 9) == [*rows, undecrypted_row("$d", room=OTHER_ROOM)]


async def test_rescheduled_event_keeps_its_content(tx: Transaction) -> None:
    for event_id in ("$1", "$2"):
        await tx.undecrypted.add(undecrypted_row(event_id))
    await tx.undecrypted.reschedule(EventId("$1"), attempts=3, next_try_ms=NOW_MS + 5, is_announced=True)
    expected = replace(undecrypted_row("$1"), attempts=3, next_try_ms=NOW_MS + 5, is_announced=True)
    assert await tx.undecrypted.get(EventId("$1")) == expected
    assert await tx.undecrypted.get(EventId("$2")) == undecrypted_row("$2")


@pytest.mark.parametrize(("scope", "woken"), [("session", {"$1"}), ("room", {"$1", "$2"})])
async def test_woken_events_are_due_now(tx: Transaction, scope: str, woken: set[str]) -> None:
    later = NOW_MS + 5
    for row in (
        undecrypted_row("$1", next_try_ms=later),
        undecrypted_row("$2", session_id=OTHER_SESSION, next_try_ms=later),
        undecrypted_row("$3", room=OTHER_ROOM, next_try_ms=later),
    ):
        await tx.undecrypted.add(row)
    await tx.undecrypted.add(undecrypted_row("$overdue", next_try_ms=NOW_MS - 1))
    if scope == "session":
        await tx.undecrypted.wake_session(ROOM, SESSION, NOW_MS)
    else:
        await tx.undecrypted.wake_room(ROOM, NOW_MS)
    due = await tx.undecrypted.due(NOW_MS, 9)
    assert {row.event_id: row.next_try_ms for row in due} == {"$overdue": NOW_MS - 1} | dict.fromkeys(woken, NOW_MS)


async def test_deleted_event_waits_no_more(tx: Transaction) -> None:
    for event_id in ("$1", "$2"):
        await tx.undecrypted.add(undecrypted_row(event_id))
    await tx.undecrypted.delete(EventId("$1"))
    assert await undecrypted_of(tx, ROOM) == [undecrypted_row("$2")]


# --- ciphertexts --------------------------------------------------------------------------------------


async def test_ciphertext_is_stored_until_deleted(tx: Transaction) -> None:
    stored = entry("t" * 64 + "$" + "e" * 43, '{"a":"😀"}'.encode())
    await tx.encrypted_entries.add(stored)
    await tx.encrypted_entries.add(entry("other"))
    assert await tx.encrypted_entries.get(stored.key) == stored
    await tx.encrypted_entries.delete(stored.key)
    assert await tx.encrypted_entries.get(stored.key) is None
    assert await tx.encrypted_entries.get("other") == entry("other")


async def test_event_is_not_encrypted_twice(tx: Transaction) -> None:
    await tx.encrypted_entries.add(entry(content=b"1"))
    with pytest.raises(IntegrityError):
        async with tx.connection.begin_nested():
            await tx.encrypted_entries.add(entry(content=b"2"))
    assert await tx.encrypted_entries.get("txn-1") == entry(content=b"1")
