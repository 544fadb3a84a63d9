"""Redactions and reactions of messages that wait for their key."""

from __future__ import annotations

from typing import Any

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


async def test_a_clear_reaction_waits_for_its_message(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    question = on_each.encrypt("question")
    key = on_each.hold_keys()
    await on_each.receive(question)
    reaction = await react(on_each, question)
    await on_each.retry(after_ms=70_000)
    assert await on_each.bodies() == [], "nobody is told of a reaction that waits"

    on_each.release_keys(key)
    await on_each.retry(after_ms=200_000)
    await on_each.retry(after_ms=200_000)

    assert await on_each.bodies() == ["question"]
    async with on_each.database.read_only() as tx:
        assert await tx.reactions.by_event_id(reaction) is not None
    assert await on_each.waiting() == []


async def test_a_redacted_clear_reaction_does_not_wait(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question")
    harness.hold_keys()
    await harness.receive(question)
    reaction = await react(harness, question)
    await harness.receive_clear("m.room.redaction", {"redacts": reaction})
    assert [row.event_id for row in await harness.waiting()] == [question["event_id"]]


async def test_a_clear_reaction_ends_with_its_message(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question")
    harness.hold_keys()
    await harness.receive(question)
    await react(harness, question)
    await harness.receive_clear("m.room.redaction", {"redacts": question["event_id"]})
    await harness.retry(after_ms=200_000)
    assert await harness.waiting() == []


async def react(harness: EncryptionHarness, message: dict[str, Any]) -> EventId:
    relation = {"rel_type": "m.annotation", "event_id": message["event_id"], "key": "👍"}
    return EventId(await harness.receive_clear("m.reaction", {"m.relates_to": relation}))
