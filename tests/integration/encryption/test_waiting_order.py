"""Redactions and reactions of messages that wait for their key."""

from __future__ import annotations

from daarion_appservice.city.types import EventId, MatrixRoomId
from tests.parts.encryption_harness import SCRIBE, EncryptionHarness


async def test_a_redacted_event_that_waits_is_dropped(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    regretted, kept = on_each.encrypt("regretted"), on_each.encrypt("kept")
    key = on_each.hold_keys()
    await on_each.receive(regretted, kept)

    await on_each.receive_clear("m.room.redaction", {"redacts": regretted["event_id"]})
    on_each.release_keys(key)
    await on_each.retry(after_ms=2_000)

    assert await on_each.bodies() == ["kept"]


async def test_a_redaction_in_another_room_drops_nothing(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question")
    key = harness.hold_keys()
    await harness.receive(question)

    async with harness.database.transaction() as tx:
        await tx.undecrypted.delete_redacted(MatrixRoomId("!other:city.localhost"), EventId(question["event_id"]))
    harness.release_keys(key)
    await harness.retry(after_ms=2_000)

    assert await harness.bodies() == ["question"]
