"""Events that wait for their key: the times of attempts, key requests, the notice, the end, and the order of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.city.types import Message
from daarion_appservice.clock import now_ms
from daarion_appservice.encryption.outbound_sessions import RotationPolicy
from daarion_appservice.encryption.withheld import WithheldCode
from tests.parts.encryption_harness import ALICE, CHAT, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import ROOM
from tests.parts.scripted_homeserver import refused

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


@dataclass(frozen=True)
class Late:
    """An event that waits, and the to-device event with its key."""

    event: dict[str, Any]
    key: dict[str, Any]

    @property
    def session_id(self) -> str:
        return str(self.event["content"]["session_id"])


async def make_late(harness: EncryptionHarness, text: str = "late", **options: Any) -> Late:
    """Return an event in a session of its own whose key is held back."""
    await harness.parts.devices.ensure(SCRIBE)
    harness.alice.policy = RotationPolicy(max_messages=1)
    event = harness.encrypt(text, **options)
    stored = await harness.account()
    assert stored is not None
    return Late(event, harness.homeserver.keys.queues[SCRIBE, stored.account.device_id].pop())


async def receive_late(harness: EncryptionHarness, text: str = "late", **options: Any) -> Late:
    """Receive an event whose key is held back, so that it waits."""
    late = await make_late(harness, text, **options)
    await harness.receive(late.event)
    assert late.event["event_id"] in [row.event_id for row in await harness.waiting()]
    return late


async def receive_in_time(harness: EncryptionHarness, text: str) -> None:
    await harness.receive(harness.encrypt(text))


async def send_keys(harness: EncryptionHarness, *lates: Late) -> None:
    """Deliver keys, and retry what waits for them."""
    stored = await harness.account()
    assert stored is not None
    harness.homeserver.queue((SCRIBE, stored.account.device_id), *[late.key for late in lates])
    await harness.parts.chats.pull_ghost(SCRIBE)
    await harness.retry()


async def withhold(harness: EncryptionHarness, late: Late, code: str) -> None:
    stored = await harness.account()
    assert stored is not None
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": late.session_id,
        "sender_key": harness.alice.account.curve25519,
        "code": code,
        "reason": "no",
    }
    event = {"type": "m.room_key.withheld", "sender": ALICE, "content": content}
    harness.homeserver.queue((SCRIBE, stored.account.device_id), event)


def requests(harness: EncryptionHarness) -> int:
    return harness.sent_types().count("m.room_key_request")


async def notices(harness: EncryptionHarness) -> list[Message]:
    return [message for message in await harness.messages() if message.msgtype == "m.notice"]


async def retry_for(harness: EncryptionHarness, duration_ms: int) -> None:
    """Let time pass, with an attempt whenever one is due."""
    end_ms = harness.clock.now_ms + duration_ms
    while True:
        async with harness.database.read_only() as tx:
            next_ms = await tx.undecrypted.next_try_ms()
        if next_ms is None or next_ms > end_ms:
            break
        await harness.retry(after_ms=max(0, next_ms - harness.clock.now_ms))
    harness.clock.now_ms = end_ms


async def test_a_late_key_makes_the_message(on_each: EncryptionHarness) -> None:
    late = await receive_late(on_each)
    assert await on_each.bodies() == []
    before = len(on_each.homeserver.all("sync"))

    await send_keys(on_each, late)

    assert await on_each.bodies() == ["late"]
    assert await on_each.waiting() == []
    assert len(on_each.homeserver.all("sync")) == before + 1, "the key itself makes the event due"
    assert on_each.run.count("events_waiting") == 0
    assert on_each.run.count("events_read", attempt="retry") == 1


async def test_a_late_key_survives_a_restart(on_each: EncryptionHarness) -> None:
    late = await receive_late(on_each)

    on_each.start()
    await send_keys(on_each, late)

    assert await on_each.bodies() == ["late"]


async def test_the_key_is_requested_after_five_seconds(harness: EncryptionHarness) -> None:
    late = await receive_late(harness)
    harness.alice.take_queue()

    await retry_for(harness, 4 * SECOND)
    assert requests(harness) == 0
    await retry_for(harness, 1 * SECOND)

    assert requests(harness) == 1
    (request,) = harness.alice.take_queue()
    assert request["content"]["body"]["session_id"] == late.session_id


async def test_the_answer_to_a_request_is_read(on_each: EncryptionHarness) -> None:
    await receive_late(on_each)
    on_each.alice.members_devices([on_each.ghost()])
    await retry_for(on_each, 5 * SECOND)

    on_each.alice.receive_all()
    await retry_for(on_each, 15 * SECOND)

    assert await on_each.bodies() == ["late"]
    assert on_each.run.count("key_requests", step="fulfilled") == 1


async def test_a_key_is_requested_at_most_four_times(harness: EncryptionHarness) -> None:
    await receive_late(harness)

    await retry_for(harness, 23 * HOUR)

    assert requests(harness) == 4


async def test_events_of_a_session_share_a_request(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    events = [harness.encrypt(str(number), is_key_lost=True) for number in range(5)]
    await harness.receive(*events)

    await retry_for(harness, 10 * SECOND)

    assert requests(harness) == 1


@pytest.mark.parametrize(
    ("before", "words"), [("Привіт", "Я не зміг розшифрувати"), ("Hello", "I could not decrypt")], ids=["uk", "en"]
)
async def test_a_notice_has_the_language_of_the_chat(harness: EncryptionHarness, before: str, words: str) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    await receive_in_time(harness, before)
    await receive_late(harness)

    await retry_for(harness, 59 * SECOND)
    assert await notices(harness) == []
    await retry_for(harness, 1 * SECOND)

    (notice,) = await notices(harness)
    assert notice.body.startswith(words)
    assert "\n\n" not in notice.body


async def test_a_notice_without_sample_has_both_languages(harness: EncryptionHarness) -> None:
    await receive_late(harness)

    await retry_for(harness, MINUTE)

    (notice,) = await notices(harness)
    assert "Я не зміг розшифрувати" in notice.body
    assert "I could not decrypt" in notice.body


async def test_a_session_causes_one_notice(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    for number in range(3):
        await harness.receive(harness.encrypt(str(number), is_key_lost=True))

    await retry_for(harness, 20 * MINUTE)

    assert len(await notices(harness)) == 1


async def test_a_withheld_key_is_named(harness: EncryptionHarness) -> None:
    late = await receive_late(harness)
    await withhold(harness, late, WithheldCode.UNVERIFIED)

    await retry_for(harness, MINUTE)

    (notice,) = await notices(harness)
    assert "(m.unverified)" in notice.body


async def test_an_event_is_given_up_after_a_day(on_each: EncryptionHarness) -> None:
    late = await receive_late(on_each)
    await retry_for(on_each, 23 * HOUR)
    assert len(await on_each.waiting()) == 1

    await retry_for(on_each, 2 * HOUR)
    assert await on_each.waiting() == []
    assert on_each.run.count("events_given_up", reason="no_key") == 1

    await send_keys(on_each, late)
    assert "late" not in await on_each.bodies()


async def test_a_withheld_event_is_given_up_as_such(harness: EncryptionHarness) -> None:
    late = await receive_late(harness)
    await withhold(harness, late, WithheldCode.BLACKLISTED)

    await retry_for(harness, 25 * HOUR)

    assert harness.run.count("events_given_up", reason="withheld") == 1


@pytest.mark.parametrize(
    "reply", [refused(429, "M_LIMIT_EXCEEDED"), refused(500, "M_UNKNOWN"), refused(403, "M_FORBIDDEN")]
)
async def test_a_refused_pull_ends_no_attempt(harness: EncryptionHarness, reply: Any) -> None:
    late = await receive_late(harness)
    harness.homeserver.next("sync", reply)

    await harness.retry(after_ms=1 * SECOND)

    assert [row.attempts for row in await harness.waiting()] == [1]
    await send_keys(harness, late)
    assert await harness.bodies() == ["late"]


async def test_an_archived_chat_waits_for_nothing(harness: EncryptionHarness) -> None:
    late = await receive_late(harness)
    async with harness.database.transaction() as tx:
        await tx.direct_chats.close(CHAT)

    await send_keys(harness, late)

    assert await harness.bodies() == []
    assert await harness.waiting() == []


async def test_a_wrong_sender_is_given_up_with_the_key(harness: EncryptionHarness) -> None:
    late = await make_late(harness)
    await harness.receive(late.event | {"sender": "@mallory:city.localhost"})

    await send_keys(harness, late)

    assert await harness.bodies() == []
    assert await harness.waiting() == []
    assert harness.run.count("events_given_up", reason="wrong_context") == 1


# --- order ---------------------------------------------------------------------------------------------


async def test_a_late_message_stands_before_later_ones(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    on_each.alice.policy = RotationPolicy(max_messages=1)
    await receive_in_time(on_each, "1")
    late = await receive_late(on_each, "2")
    await receive_in_time(on_each, "3")
    await receive_in_time(on_each, "4")

    await send_keys(on_each, late)

    assert await on_each.bodies() == ["1", "2", "3", "4"]


async def test_a_late_first_message_stands_first(on_each: EncryptionHarness) -> None:
    late = await receive_late(on_each, "1")
    await receive_in_time(on_each, "2")

    await send_keys(on_each, late)

    assert await on_each.bodies() == ["1", "2"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_late_messages_keep_their_order(on_each: EncryptionHarness, order: tuple[int, ...]) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    on_each.alice.policy = RotationPolicy(max_messages=1)
    await receive_in_time(on_each, "0")
    lates = [await receive_late(on_each, "1"), await receive_late(on_each, "2")]
    await receive_in_time(on_each, "3")
    lates.append(await receive_late(on_each, "4"))
    await receive_in_time(on_each, "5")

    for number in order:
        await send_keys(on_each, lates[number])

    assert await on_each.bodies() == ["0", "1", "2", "3", "4", "5"]


async def test_late_messages_at_once_keep_their_order(on_each: EncryptionHarness) -> None:
    lates = [await receive_late(on_each, str(number)) for number in range(4)]
    await receive_in_time(on_each, "4")

    await send_keys(on_each, *reversed(lates))

    assert await on_each.bodies() == ["0", "1", "2", "3", "4"]


async def test_an_edit_before_its_late_message_counts(on_each: EncryptionHarness) -> None:
    late = await receive_late(on_each, "first")
    relation = {"rel_type": "m.replace", "event_id": late.event["event_id"]}
    new = {"msgtype": "m.text", "body": "second"}
    edit = {"msgtype": "m.text", "body": "* second", "m.new_content": new, "m.relates_to": relation}
    await on_each.receive(on_each.encrypt(content=edit))

    await send_keys(on_each, late)

    assert await on_each.bodies() == ["second"]


async def test_a_late_edit_counts(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = harness.encrypt("first")
    await harness.receive(first)
    relation = {"rel_type": "m.replace", "event_id": first["event_id"]}
    new = {"msgtype": "m.text", "body": "second"}
    edit = {"msgtype": "m.text", "body": "* second", "m.new_content": new, "m.relates_to": relation}
    late = await receive_late(harness, content=edit)

    await send_keys(harness, late)

    assert await harness.bodies() == ["second"]


async def test_a_late_message_requests_a_reply(harness: EncryptionHarness) -> None:
    late = await receive_late(harness, "please answer")

    await send_keys(harness, late)

    (message,) = await harness.messages()
    async with harness.database.read_only() as tx:
        assert [reply.request_id for reply in await tx.agent_replies.due(now_ms=now_ms(), limit=9)] == [message.id]
