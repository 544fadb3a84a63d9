"""The encryption of events: the order of requests, crashes, rotation, recipients, withheld keys and files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daarion_appservice.city.types import HistoryVisibility
from daarion_appservice.encryption.attachments import EncryptedFile, decrypt_attachment
from daarion_appservice.encryption.withheld import WithheldCode
from daarion_appservice.errors import HomeserverRefused, HomeserverUnavailable
from daarion_appservice.matrix.encryption.room_encryptor import ClearEvent
from tests.parts.encryption_harness import ALICE, BOB, CHAT, GUIDE, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import ROOM, Peer
from tests.parts.key_homeserver import KeyHomeserver
from tests.parts.scripted_homeserver import HANG_UP, LOSE, HangUp, Lose, refused

PICTURE = b"not really a picture"


def add_person(harness: EncryptionHarness, user: str = BOB, *, membership: str = "join", signed: bool = True) -> Peer:
    """Add a person with one device to the room."""
    peer = Peer(harness.homeserver.keys, user, "LAPTOP", cross_signed=signed)
    harness.homeserver.memberships[ROOM][user] = membership
    return peer


async def change_member(harness: EncryptionHarness, user: str, membership: str) -> None:
    harness.homeserver.memberships[ROOM][user] = membership
    await harness.receive_clear("m.room.member", {"membership": membership}, state_key=user, sender=user)


def session_of(event: dict[str, Any]) -> str:
    return str(event["content"]["session_id"])


def withheld_codes(peer: Peer) -> list[str]:
    peer.receive_all()
    return [row.code for row in peer.store.withheld]


async def test_the_key_is_sent_before_the_event(on_each: EncryptionHarness) -> None:
    event = await on_each.send("hello")

    whats = [request.what for request in on_each.homeserver.requests]
    assert whats[-6:] == ["sync", "room_members", "state", "query_keys", "claim_keys", "to_device"]
    assert on_each.read(event) == "hello"


async def test_a_following_event_needs_one_request(harness: EncryptionHarness) -> None:
    harness.read(await harness.send("first"))
    before = len(harness.homeserver.requests)

    assert harness.read(await harness.send("second")) == "second"

    assert [request.what for request in harness.homeserver.requests[before:]] == ["sync"]


@pytest.mark.parametrize("fault", [HANG_UP, LOSE], ids=["before", "after"])
async def test_a_crash_before_the_key_sends_it_later(on_each: EncryptionHarness, fault: HangUp | Lose) -> None:
    on_each.homeserver.break_off("to_device", fault)
    with pytest.raises(HomeserverUnavailable):
        await on_each.send("hello", txn_id="txn")

    on_each.start()
    event = await on_each.send("hello", txn_id="txn")

    assert len(on_each.homeserver.keys.queues[on_each.alice.address]) == 1
    assert on_each.read(event) == "hello"


async def test_the_same_transaction_has_one_ciphertext(on_each: EncryptionHarness) -> None:
    first = await on_each.send("hello", txn_id="txn")

    on_each.start()
    again = await on_each.send("hello", txn_id="txn")

    assert again["content"] == first["content"]


async def test_events_at_once_have_different_indices(harness: EncryptionHarness) -> None:
    events = await asyncio.gather(*(harness.send(f"{number}") for number in range(10)))

    assert sorted(harness.read(event) for event in events) == [str(number) for number in range(10)]
    assert len({session_of(event) for event in events}) == 1


@pytest.mark.parametrize("what", ["room_members", "state", "query_keys", "claim_keys"])
async def test_a_failed_request_encrypts_nothing(harness: EncryptionHarness, what: str) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    harness.homeserver.next(what, refused(429, "M_LIMIT_EXCEEDED"))
    with pytest.raises(HomeserverRefused):
        await harness.send("hello", txn_id="txn")
    async with harness.database.read_only() as tx:
        assert await tx.encrypted_entries.get("txn") is None
        assert await tx.megolm_sessions.outbound(SCRIBE, ROOM) is None

    assert harness.read(await harness.send("hello", txn_id="txn")) == "hello"


# --- rotation ------------------------------------------------------------------------------------------


async def test_a_restart_rotates(on_each: EncryptionHarness) -> None:
    first = await on_each.send()

    on_each.start()
    second = await on_each.send("after the restart")

    assert session_of(second) != session_of(first)
    assert on_each.read(second) == "after the restart"
    assert on_each.run.count("sessions_started", reason="restart") == 1


async def test_a_restart_uses_no_olm_session_again(harness: EncryptionHarness) -> None:
    await harness.send()
    harness.start()
    await harness.send()

    assert len(harness.homeserver.all("claim_keys")) == 2


async def test_as_many_messages_as_allowed_rotate(harness: EncryptionHarness) -> None:
    harness.homeserver.state[ROOM, "m.room.encryption"] = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "rotation_period_msgs": 3,
    }
    events = [await harness.send(str(number)) for number in range(7)]

    sessions = [session_of(event) for event in events]
    assert [sessions.count(session) for session in dict.fromkeys(sessions)] == [3, 3, 1]
    assert [harness.read(event) for event in events] == [str(number) for number in range(7)]


async def test_a_week_rotates(harness: EncryptionHarness) -> None:
    first = await harness.send()
    harness.clock.now_ms += 7 * 24 * 3_600_000

    assert session_of(await harness.send()) != session_of(first)
    assert harness.run.count("sessions_started", reason="age") == 1


async def test_a_leave_rotates(on_each: EncryptionHarness) -> None:
    bob = add_person(on_each)
    before = await on_each.send("with Bob")
    assert on_each.read(before, bob) == "with Bob"

    await change_member(on_each, BOB, "leave")
    after = await on_each.send("without Bob")

    assert session_of(after) != session_of(before)
    assert on_each.read(after) == "without Bob"
    assert bob.take_queue() == []


async def test_a_deleted_device_rotates(harness: EncryptionHarness) -> None:
    lost = Peer(harness.homeserver.keys, ALICE, "LOST", cross_signed=False)
    before = await harness.send()
    lost.take_queue()
    del harness.homeserver.keys.device_keys[ALICE]["LOST"]
    harness.homeserver.changed[SCRIBE] = [ALICE]

    assert session_of(await harness.send()) != session_of(before)
    assert harness.run.count("sessions_started", reason="device_gone") == 1


# --- recipients ----------------------------------------------------------------------------------------


async def test_a_joining_person_reads_from_now_on(on_each: EncryptionHarness) -> None:
    before = await on_each.send("before")
    bob = add_person(on_each)
    await change_member(on_each, BOB, "join")

    after = await on_each.send("after")

    assert session_of(after) == session_of(before)
    assert on_each.read(after, bob) == "after"
    with pytest.raises(Exception, match="no key for index 0"):
        bob.read(before)


async def test_a_new_device_reads_from_now_on(harness: EncryptionHarness) -> None:
    await harness.send("before")
    laptop = Peer(harness.homeserver.keys, ALICE, "LAPTOP", cross_signed=False)
    harness.homeserver.changed[SCRIBE] = [ALICE]

    assert harness.read(await harness.send("after"), laptop) == "after"


@pytest.mark.parametrize(
    ("visibility", "is_reader"), [(HistoryVisibility.SHARED, True), (HistoryVisibility.JOINED, False)]
)
async def test_an_invited_person_gets_keys(
    harness: EncryptionHarness, visibility: HistoryVisibility, is_reader: bool
) -> None:
    bob = add_person(harness, membership="invite")
    async with harness.database.transaction() as tx:
        await tx.rooms.set_rules(CHAT, history_visibility=visibility)

    await harness.send()

    assert bool(bob.take_queue()) is is_reader


async def test_other_ghosts_get_no_keys(harness: EncryptionHarness) -> None:
    await harness.add_guide()
    await harness.parts.devices.ensure(GUIDE)

    await harness.send()

    assert [list(request.content["messages"]) for request in harness.homeserver.all("to_device")] == [[ALICE]]
    (query,) = [request for request in harness.homeserver.all("query_keys") if request.user == SCRIBE][-1:]
    assert list(query.content["device_keys"]) == [ALICE]


async def test_each_ghost_has_its_own_session(harness: EncryptionHarness) -> None:
    await harness.add_guide()
    first, second = await harness.send("by the scribe"), await harness.send("by the guide", ghost=GUIDE)

    assert session_of(first) != session_of(second)
    assert [harness.read(first), harness.read(second)] == ["by the scribe", "by the guide"]


async def test_a_device_without_keys_is_told_once(harness: EncryptionHarness) -> None:
    bob = add_person(harness)
    harness.homeserver.keys.one_time_keys[bob.address].clear()
    harness.homeserver.keys.fallback_keys[bob.address].clear()

    events = [await harness.send("hello") for _ in range(3)]

    assert withheld_codes(bob) == [WithheldCode.NO_OLM]
    assert [harness.read(event) for event in events] == ["hello"] * 3
    assert len(harness.homeserver.all("claim_keys")) == 1


async def test_a_device_that_starts_a_session_gets_the_key(harness: EncryptionHarness) -> None:
    bob = add_person(harness)
    harness.homeserver.keys.one_time_keys[bob.address].clear()
    harness.homeserver.keys.fallback_keys[bob.address].clear()
    await harness.send()
    bob.take_queue()

    harness.clock.now_ms += 1
    (ghost,) = bob.members_devices([type("Ghost", (), {"user": SCRIBE})()])
    bob.claim((ghost,))
    bob.send_olm(ghost, "m.dummy", {})

    assert harness.read(await harness.send("for Bob too"), bob) == "for Bob too"


async def test_an_unsigned_device_is_left_out_if_wanted(harness: EncryptionHarness) -> None:
    bob = add_person(harness, signed=False)
    harness.settings = harness.settings.model_copy(update={"only_signed_devices": True})
    harness.start()

    events = [await harness.send("hello") for _ in range(2)]

    assert withheld_codes(bob) == [WithheldCode.UNVERIFIED]
    assert [harness.read(event) for event in events] == ["hello"] * 2


# --- content -------------------------------------------------------------------------------------------


async def test_a_relation_stands_in_clear(harness: EncryptionHarness) -> None:
    relation = {"rel_type": "m.replace", "event_id": "$first"}
    content = {"msgtype": "m.text", "body": "* new", "m.relates_to": relation, "m.new_content": {"body": "new"}}

    clear = ClearEvent(SCRIBE, await harness.chat(), "m.room.message", content, "txn")
    encrypted = await harness.parts.encryptor.encrypt(clear)

    assert encrypted["m.relates_to"] == relation
    assert "new" not in str({name: value for name, value in encrypted.items() if name != "ciphertext"})


async def test_a_file_is_encrypted(harness: EncryptionHarness) -> None:
    harness.files["mxc://city.localhost/clear"] = PICTURE
    content = {
        "msgtype": "m.image",
        "body": "cat.png",
        "url": "mxc://city.localhost/clear",
        "info": {"mimetype": "image/png", "thumbnail_url": "mxc://city.localhost/small"},
    }
    clear = ClearEvent(SCRIBE, await harness.chat(), "m.room.message", content, "txn")
    encrypted = await harness.parts.encryptor.encrypt(clear)
    harness.alice.receive_all()
    event = {"type": "m.room.encrypted", "event_id": "$1", "sender": SCRIBE, "content": encrypted}

    read = harness.alice.read(event).content

    assert "url" not in read
    assert read["info"] == {"mimetype": "image/png"}
    file = EncryptedFile.parse(read["file"])
    assert harness.files[file.url] != PICTURE
    assert decrypt_attachment(harness.files[file.url], file) == PICTURE


async def test_a_failed_upload_sends_no_clear_file(harness: EncryptionHarness) -> None:
    harness.files["mxc://city.localhost/clear"] = PICTURE
    content = {"msgtype": "m.file", "body": "a", "url": "mxc://city.localhost/clear"}
    clear = ClearEvent(SCRIBE, await harness.chat(), "m.room.message", content, "txn")
    harness.homeserver.next("upload", refused(413, "M_TOO_LARGE"))

    with pytest.raises(HomeserverRefused):
        await harness.parts.encryptor.encrypt(clear)

    async with harness.database.read_only() as tx:
        assert await tx.encrypted_entries.get("txn") is None


async def test_a_refused_support_encrypts_nothing(harness: EncryptionHarness) -> None:
    harness.homeserver.next("upload_keys", refused(400, "M_UNKNOWN", "To upload keys, you must pass device_id"))

    with pytest.raises(HomeserverRefused, match="takes no device keys"):
        await harness.send()


def test_the_homeserver_of_the_tests_has_all_routes() -> None:
    assert set(KeyHomeserver()._answers) <= set(KeyHomeserver.routes)


async def test_new_olm_session_of_person_starts_new_session(harness: EncryptionHarness) -> None:
    """The device that sends ``m.dummy`` may not have got the key of the session."""
    first = await harness.send("first")
    harness.read(first)
    (device,) = harness.alice.members_devices([harness.ghost()])
    harness.alice.claim((device,))
    harness.alice.send_olm(device, "m.dummy", {})

    second = await harness.send("second")

    assert session_of(second) != session_of(first)
    assert harness.read(second) == "second"
