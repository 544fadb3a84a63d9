"""The decryption of events: known keys, pulled keys, refusals, and the kinds of content inside."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from daarion_appservice.city.event_fields import ENCRYPTED_FILE
from daarion_appservice.city.events import DirectChatChanged
from daarion_appservice.city.types import MatrixRoomId, MatrixStatus
from daarion_appservice.encryption.attachments import encrypt_attachment
from tests.parts.encryption_harness import ALICE, CHAT, GUIDE, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import ROOM, Peer
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, Fault, refused

MALFORMED: list[dict[str, Any]] = [
    {},
    {"algorithm": "m.olm.v1.curve25519-aes-sha2"},
    {"algorithm": "m.megolm.v1.aes-sha2"},
    {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": 1, "session_id": "a"},
    {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": ["a"]},
    {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "\0"},
    {"algorithm": [], "ciphertext": "", "session_id": "A" * 43},
]
OTHER_ROOM = MatrixRoomId("!other:example.org")


def given_up(harness: EncryptionHarness, reason: str) -> float:
    return harness.run.count("events_given_up", reason=reason)


async def test_a_key_in_the_queue_is_pulled(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)

    await on_each.receive(on_each.encrypt("hello"))

    assert await on_each.bodies() == ["hello"]
    assert on_each.run.count("events_read", attempt="pull") == 1


async def test_a_known_key_causes_no_request(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    await on_each.receive(on_each.encrypt("first"))
    before = len(on_each.homeserver.requests)

    on_each.start()
    await on_each.receive(on_each.encrypt("second"), on_each.encrypt("third"))

    assert await on_each.bodies() == ["first", "second", "third"]
    assert len(on_each.homeserver.requests) == before
    assert on_each.run.count("events_read", attempt="first") == 2


async def test_a_batch_causes_one_pull(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)

    await harness.receive(*[harness.encrypt(str(number)) for number in range(5)])

    assert await harness.bodies() == ["0", "1", "2", "3", "4"]
    assert len(harness.homeserver.all("sync")) == 1


async def test_a_second_agent_has_the_key(harness: EncryptionHarness) -> None:
    await harness.add_guide()
    await harness.parts.devices.ensure(SCRIBE)
    await harness.parts.devices.ensure(GUIDE)
    harness.ghosts = [GUIDE]

    await harness.receive(harness.encrypt("for the guide only"))

    assert await harness.bodies() == ["for the guide only"]


@pytest.mark.parametrize(
    "fault", [HANG_UP, NOT_REGISTERED, refused(429, "M_LIMIT_EXCEEDED"), refused(500, "M_UNKNOWN")]
)
async def test_a_failed_pull_delays_the_event(harness: EncryptionHarness, fault: Fault) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    harness.homeserver.next("sync", fault, fault)
    await harness.receive(harness.encrypt("hello"))
    assert [row.attempts for row in await harness.waiting()] == [0]

    harness.homeserver._script.clear()
    await harness.retry(after_ms=1_000)

    assert await harness.bodies() == ["hello"]
    assert harness.run.count("events_read", attempt="retry") == 1


async def test_an_event_handled_again_is_one_message(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    event = on_each.encrypt("once")

    await on_each.receive(event)
    await on_each.receive(event)

    assert await on_each.bodies() == ["once"]
    assert given_up(on_each, "replayed") == 0


async def test_a_repeated_ciphertext_is_refused(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    event = on_each.encrypt("once")
    await on_each.receive(event)

    await on_each.receive(event | {"event_id": "$repeated"})

    assert await on_each.bodies() == ["once"]
    assert given_up(on_each, "replayed") == 1


async def test_a_repeat_in_one_batch_is_refused(on_each: EncryptionHarness) -> None:
    await on_each.parts.devices.ensure(SCRIBE)
    event = on_each.encrypt("once")

    await on_each.receive(event, event | {"event_id": "$repeated"})

    assert await on_each.bodies() == ["once"]


async def test_a_session_of_another_sender_is_refused(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)

    await harness.receive(harness.encrypt("as Mallory") | {"sender": "@mallory:city.localhost"})

    assert await harness.bodies() == []
    assert given_up(harness, "wrong_context") == 1


async def test_an_event_of_another_room_is_not_read(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    event = harness.encrypt("in the chat")

    await harness.receive(event | {"room_id": OTHER_ROOM})
    await harness.parts.chats.pull_ghost(SCRIBE)

    assert await harness.bodies() == []
    assert await harness.waiting() == []


async def test_a_changed_ciphertext_is_given_up(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    event = harness.encrypt("hello")
    changed = copy.deepcopy(event)
    text = changed["content"]["ciphertext"]
    changed["content"]["ciphertext"] = text[:40] + ("A" if text[40] != "A" else "B") + text[41:]

    await harness.receive(changed)

    assert await harness.bodies() == []
    assert given_up(harness, "undecryptable") == 1
    await harness.receive(event)
    assert await harness.bodies() == ["hello"]


async def test_malformed_events_are_given_up(on_each: EncryptionHarness) -> None:
    for content in MALFORMED:
        await on_each.receive_clear("m.room.encrypted", content)

    assert await on_each.bodies() == []
    assert await on_each.waiting() == []
    assert given_up(on_each, "invalid") == len(MALFORMED)


async def test_an_own_event_is_dropped(harness: EncryptionHarness) -> None:
    event = await harness.send("by the agent")

    await harness.receive(event)

    assert await harness.bodies() == []
    assert await harness.waiting() == []


async def test_an_event_in_an_archived_chat_is_dropped(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    async with harness.database.transaction() as tx:
        await tx.direct_chats.close(CHAT)

    await harness.receive(harness.encrypt("too late"))

    assert await harness.bodies() == []
    assert await harness.waiting() == []
    assert harness.homeserver.all("sync") == []


# --- content -------------------------------------------------------------------------------------------


async def test_an_edit_changes_the_message(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = harness.encrypt("first")
    edit = harness.encrypt(
        content={
            "msgtype": "m.text",
            "body": "* second",
            "m.new_content": {"msgtype": "m.text", "body": "second"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": first["event_id"]},
        }
    )

    await harness.receive(first, edit)

    assert await harness.bodies() == ["second"]


async def test_a_reply_names_its_message(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = harness.encrypt("first")
    relation = {"m.in_reply_to": {"event_id": first["event_id"]}}
    reply = harness.encrypt(content={"msgtype": "m.text", "body": "reply", "m.relates_to": relation})

    await harness.receive(first, reply)

    one, two = await harness.messages()
    assert two.reply_to == one.id


async def test_a_reaction_inside_counts(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = harness.encrypt("first")
    relation = {"rel_type": "m.annotation", "event_id": first["event_id"], "key": "👍"}
    reaction = harness.encrypt(event_type="m.reaction", content={"m.relates_to": relation})

    await harness.receive(first, reaction)

    async with harness.database.read_only() as tx:
        assert await tx.reactions.by_event_id(reaction["event_id"]) is not None


async def test_a_file_keeps_its_key(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    attachment = encrypt_attachment(b"a picture")
    file = attachment.at("mxc://city.localhost/cipher").to_content()
    content = {"msgtype": "m.image", "body": "cat.png", "file": file, "info": {"mimetype": "image/png"}}

    await harness.receive(harness.encrypt(content=content))

    (message,) = await harness.messages()
    assert message.media is not None
    assert "mxc://city.localhost/cipher" in str(message.media)
    assert file["key"]["k"] in str(message.media)


async def test_a_forged_file_key_in_clear_is_dropped(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    content = {"msgtype": "m.image", "body": "cat.png", "url": "mxc://city.localhost/a", ENCRYPTED_FILE: "{}"}

    await harness.receive(harness.encrypt(content=content))

    assert "mxc://city.localhost/a" not in str(await harness.messages())


@pytest.mark.parametrize("event_type", ["m.room.member", "m.room.name", "m.room.redaction", "m.room.encryption", "x.y"])
async def test_other_types_inside_are_ignored(harness: EncryptionHarness, event_type: str) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    first = harness.encrypt("first")
    content = {"membership": "leave", "name": "x", "redacts": first["event_id"]}

    await harness.receive(first, harness.encrypt(event_type=event_type, content=content))

    assert await harness.bodies() == ["first"]
    assert not (await harness.chat()).archived


async def test_state_in_the_envelope_is_refused(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)

    await harness.receive(harness.encrypt("as state") | {"state_key": ""})

    assert await harness.bodies() == []
    assert given_up(harness, "invalid") == 1


async def test_a_message_of_a_second_device_is_read(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    await harness.receive(harness.encrypt("from the phone"))
    laptop = Peer(harness.homeserver.keys, ALICE, "LAPTOP", cross_signed=False)

    await harness.receive(laptop.send("from the laptop", [harness.ghost()]) | {"event_id": "$laptop"})

    assert await harness.bodies() == ["from the phone", "from the laptop"]


async def test_a_chat_of_no_agent_is_not_decrypted(harness: EncryptionHarness) -> None:
    assert ROOM != OTHER_ROOM
    await harness.receive_clear("m.room.encrypted", {}, room_id=OTHER_ROOM)

    assert given_up(harness, "invalid") == 0


async def test_chat_with_unknown_encryption_is_reconciled(harness: EncryptionHarness) -> None:
    """Until then its outbox waits, because an answer could go out in clear."""
    await harness.parts.devices.ensure(SCRIBE)
    async with harness.database.transaction() as tx:
        await tx.rooms.set_encrypted(CHAT, encrypted=False)
    event = harness.encrypt("hello")

    await harness.receive(event)

    assert await harness.bodies() == ["hello"]
    assert DirectChatChanged(CHAT) in harness.published
    assert (await harness.chat()).matrix_status is MatrixStatus.PENDING
