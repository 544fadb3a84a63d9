"""Events that wait for their key when encryption is turned off, or when the homeserver takes no keys any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daarion_appservice.city.events import DirectChatChanged
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.types import Author, AuthorKind
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.encryption.support import UNREADABLE
from tests.integration.encryption.test_waiting_events import HOUR, SECOND, receive_late, retry_for, send_keys
from tests.parts.encryption_harness import CHAT, EncryptionHarness

EndEncryption = Callable[[EncryptionHarness], None]


def turn_off(harness: EncryptionHarness) -> None:
    harness.start(is_enabled=False)


def refuse_keys(harness: EncryptionHarness) -> None:
    harness.start()
    assert harness.parts.support.record_refusal(HomeserverRefused(404, "M_UNRECOGNIZED", "unknown"))


async def requested(harness: EncryptionHarness) -> bool:
    """Return whether the reconciler is to read the chat again and to send the notice; take the request back."""
    async with harness.database.transaction() as tx:
        is_pending = [chat.id for chat in await tx.direct_chats.pending()] == [CHAT]
        await tx.direct_chats.mark_linked(CHAT, is_group=False)
    published = [event for event in harness.published if isinstance(event, DirectChatChanged)]
    harness.published.clear()
    assert published == ([DirectChatChanged(CHAT)] if is_pending else [])
    return is_pending


@pytest.mark.parametrize("end_encryption", [turn_off, refuse_keys])
async def test_chat_with_waiting_events_gets_its_notice(
    on_each: EncryptionHarness, end_encryption: EndEncryption
) -> None:
    await receive_late(on_each, "one")
    await receive_late(on_each, "two")
    await requested(on_each)
    end_encryption(on_each)

    await on_each.retry(after_ms=SECOND)
    assert await requested(on_each)

    await on_each.retry(after_ms=SECOND)
    assert not await requested(on_each), "it is requested once"
    assert len(await on_each.waiting()) == 2


async def test_chat_that_has_its_notice_gets_no_other(harness: EncryptionHarness) -> None:
    await receive_late(harness)
    draft = Draft("I cannot read encrypted chats.", msgtype="m.notice", client_id=UNREADABLE)
    await harness.messaging.messages.post(Author(AuthorKind.AGENT, "scribe", "Писар"), CHAT, draft)
    await requested(harness)
    turn_off(harness)

    await harness.retry(after_ms=SECOND)

    assert not await requested(harness)


async def test_closed_chat_with_waiting_events_gets_no_notice(harness: EncryptionHarness) -> None:
    await receive_late(harness)
    async with harness.database.transaction() as tx:
        await tx.direct_chats.close(CHAT)
    turn_off(harness)

    await harness.retry(after_ms=SECOND)

    assert not await requested(harness)


async def test_events_are_given_up_after_a_day_while_encryption_is_off(on_each: EncryptionHarness) -> None:
    old = await receive_late(on_each, "old")
    await retry_for(on_each, 2 * HOUR)
    young = await receive_late(on_each, "young")
    on_each.start(is_enabled=False)
    await on_each.retry(after_ms=21 * HOUR)
    assert len(await on_each.waiting()) == 2

    await on_each.retry(after_ms=1 * HOUR)
    assert [row.event_id for row in await on_each.waiting()] == [young.event["event_id"]]
    assert on_each.run.count("events_given_up", reason="no_key") == 1
    assert on_each.run.count("events_waiting") == 1

    on_each.start()
    await send_keys(on_each, old, young)
    assert [body for body in await on_each.bodies() if body in ("old", "young")] == ["young"]


async def test_events_are_given_up_while_the_homeserver_takes_no_keys(harness: EncryptionHarness) -> None:
    await receive_late(harness)
    harness.start()
    assert harness.parts.support.record_refusal(HomeserverRefused(404, "M_UNRECOGNIZED", "unknown"))

    await harness.retry(after_ms=24 * HOUR)

    assert await harness.waiting() == []
