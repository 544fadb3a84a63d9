"""Copies of one Megolm session: which one is kept, and which keys are accepted at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId, UserId
from daarion_appservice.encryption.base64_text import decode_base64, encode_base64
from daarion_appservice.encryption.errors import EncryptionError, InvalidContent, UnknownSession, WrongContext
from daarion_appservice.encryption.inbound_sessions import from_forwarded_key, from_room_key, merge
from daarion_appservice.encryption.megolm_events import parse_megolm_event, select_session
from daarion_appservice.encryption.olm_events import OlmEvent
from daarion_appservice.encryption.primitives import MegolmReceiver, MegolmSender
from daarion_appservice.encryption.rows import InboundSessionRow, KeyOrigin, KeyRequestRow
from tests.parts.encryption_peer import KEY, ROOM

ALICE = UserId("@alice:example.org")
GHOST = UserId("@agent_x:example.org")
CURVE = "A" * 43


def advanced_sender(messages: int = 0) -> MegolmSender:
    sender = MegolmSender()
    for _ in range(messages):
        sender.encrypt(b"")
    return sender


def row_of(receiver: MegolmReceiver, origin: KeyOrigin, owner: UserId = ALICE) -> InboundSessionRow:
    return InboundSessionRow(
        ROOM, receiver.session_id, CURVE, owner, receiver.first_index, receiver.pickle(KEY), origin, GHOST
    )


@pytest.fixture
def receiver() -> MegolmReceiver:
    return MegolmReceiver.from_session_key(advanced_sender().session_key)


def at(receiver: MegolmReceiver, index: int, origin: KeyOrigin) -> InboundSessionRow:
    exported = receiver.export_at(index)
    assert exported is not None
    return row_of(MegolmReceiver.from_exported_key(exported), origin)


def forged(row: InboundSessionRow, index: int = 0) -> InboundSessionRow:
    """A session with the same id whose ratchet is another's: the unsigned format allows it."""
    honest = MegolmReceiver.from_pickle(row.pickle, KEY).export_at(row.first_index)
    other = MegolmReceiver.from_session_key(advanced_sender().session_key).export_at(index)
    assert honest is not None
    assert other is not None
    mixed = MegolmReceiver.from_exported_key(_with_public_key_of(other, honest))
    return row_of(mixed, KeyOrigin.FORWARDED)


def _with_public_key_of(ratchet: str, key: str) -> str:
    """The last 32 bytes of an exported key are the public key, which is the session's id."""
    return encode_base64(decode_base64(ratchet, what="key")[:-32] + decode_base64(key, what="key")[-32:])


DIRECT, FORWARDED, BUNDLE = KeyOrigin.DIRECT, KeyOrigin.FORWARDED, KeyOrigin.BUNDLE


@pytest.mark.parametrize(
    ("known", "new", "expected"),
    [
        ((5, DIRECT), (2, DIRECT), (2, DIRECT)),
        ((2, DIRECT), (5, DIRECT), None),
        ((2, DIRECT), (2, DIRECT), None),
        ((5, DIRECT), (2, FORWARDED), (2, DIRECT)),
        ((5, DIRECT), (2, BUNDLE), (2, DIRECT)),
        ((2, BUNDLE), (5, DIRECT), (2, DIRECT)),
        ((5, BUNDLE), (2, FORWARDED), (2, FORWARDED)),
        ((2, FORWARDED), (5, BUNDLE), None),
    ],
)
def test_copy_that_begins_earlier_is_kept(
    receiver: MegolmReceiver,
    known: tuple[int, KeyOrigin],
    new: tuple[int, KeyOrigin],
    expected: tuple[int, KeyOrigin] | None,
) -> None:
    best = merge(at(receiver, *known), at(receiver, *new), KEY)
    assert (best and (best.first_index, best.origin)) == expected


def test_first_copy_is_kept(receiver: MegolmReceiver) -> None:
    row = at(receiver, 3, BUNDLE)
    assert merge(None, row, KEY) == row


def test_forged_copy_does_not_replace_a_signed_one(receiver: MegolmReceiver) -> None:
    signed = replace(at(receiver, 5, FORWARDED), origin=DIRECT)
    assert forged(signed).session_id == signed.session_id
    assert merge(signed, forged(signed), KEY) is None


def test_signed_copy_replaces_a_forged_one(receiver: MegolmReceiver) -> None:
    signed = replace(at(receiver, 5, FORWARDED), origin=DIRECT)
    assert merge(forged(signed), signed, KEY) == signed


def test_forged_copy_does_not_replace_an_unsigned_one(receiver: MegolmReceiver) -> None:
    row = at(receiver, 5, BUNDLE)
    assert merge(row, forged(row), KEY) is None


def test_unsigned_copy_does_not_change_the_owner(receiver: MegolmReceiver) -> None:
    signed = at(receiver, 5, DIRECT)
    assert merge(signed, replace(at(receiver, 0, BUNDLE), owner=UserId("@mallory:example.org")), KEY) is None


def test_different_sessions_are_not_merged(receiver: MegolmReceiver) -> None:
    row = at(receiver, 0, DIRECT)
    with pytest.raises(WrongContext):
        merge(row, replace(row, curve25519="B" * 43), KEY)


# --- m.room_key ---------------------------------------------------------------------------------------


def room_key(sender: MegolmSender, **changes: object) -> OlmEvent:
    content: dict[str, Any] = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": sender.session_id,
        "session_key": sender.session_key,
    }
    return OlmEvent(ALICE, CURVE, CURVE, "m.room_key", content | changes, None)


def test_room_key_belongs_to_its_sender() -> None:
    row = from_room_key(room_key(advanced_sender(4)), ghost=GHOST, key=KEY)
    assert (row.owner, row.curve25519, row.first_index, row.origin, row.ghost) == (ALICE, CURVE, 4, DIRECT, GHOST)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "m.megolm.v2"},
        {"algorithm": []},
        {"room_id": ""},
        {"room_id": None},
        {"room_id": "!" + "x" * 300},
        {"room_id": "!\0"},
        {"session_id": MegolmSender().session_id},
        {"session_id": 7},
        {"session_key": "AAAA"},
        {"session_key": MegolmSender().session_key[:-4] + "AAAA"},
        {"session_key": "\ud800"},
        {"session_key": {}},
    ],
)
def test_malformed_room_key_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidContent):
        from_room_key(room_key(advanced_sender(), **changes), ghost=GHOST, key=KEY)


def test_event_of_another_type_is_no_room_key() -> None:
    with pytest.raises(InvalidContent):
        from_room_key(replace(room_key(advanced_sender()), type="m.dummy"), ghost=GHOST, key=KEY)


# --- m.forwarded_room_key -----------------------------------------------------------------------------


def forwarded(receiver: MegolmReceiver, **changes: object) -> OlmEvent:
    content: dict[str, Any] = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": receiver.session_id,
        "session_key": receiver.export_at(0),
        "sender_key": CURVE,
    }
    return OlmEvent(ALICE, CURVE, CURVE, "m.forwarded_room_key", content | changes, None)


def request_for(receiver: MegolmReceiver) -> KeyRequestRow:
    return KeyRequestRow("1", GHOST, ROOM, receiver.session_id, ALICE, "ALICE", 0, 1)


def test_requested_key_is_taken_over(receiver: MegolmReceiver) -> None:
    row = from_forwarded_key(forwarded(receiver), [request_for(receiver)], ghost=GHOST, key=KEY)
    assert (row.owner, row.origin) == (ALICE, FORWARDED)


@pytest.mark.parametrize(
    "request_changes",
    [
        {"user": UserId("@bob:example.org")},
        {"session_id": "other"},
        {"room": "!other:example.org"},
        {"ghost": UserId("@agent_y:example.org")},
    ],
)
def test_key_that_was_not_requested_is_refused(receiver: MegolmReceiver, request_changes: dict[str, Any]) -> None:
    request = replace(request_for(receiver), **request_changes)
    with pytest.raises(WrongContext):
        from_forwarded_key(forwarded(receiver), [request], ghost=GHOST, key=KEY)


def test_key_of_another_device_is_refused(receiver: MegolmReceiver) -> None:
    event = forwarded(receiver, sender_key="B" * 43)
    with pytest.raises(WrongContext):
        from_forwarded_key(event, [request_for(receiver)], ghost=GHOST, key=KEY)


@pytest.mark.parametrize("session_key", [None, "", "AAAA", "é"])
def test_malformed_forward_is_refused(receiver: MegolmReceiver, session_key: object) -> None:
    event = forwarded(receiver, session_key=session_key)
    with pytest.raises(EncryptionError):
        from_forwarded_key(event, [request_for(receiver)], ghost=GHOST, key=KEY)


# --- the session for an event -------------------------------------------------------------------------


def event_at(sender: MegolmSender, **changes: object) -> dict[str, Any]:
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "session_id": sender.session_id,
        "ciphertext": sender.encrypt(b"{}"),
    }
    return {"type": "m.room.encrypted", "sender": ALICE, "event_id": "$1", "content": content | changes}


def test_signed_session_is_chosen_before_a_bundled_one() -> None:
    sender = advanced_sender(3)
    row = row_of(MegolmReceiver.from_session_key(sender.session_key), DIRECT)
    bundled = replace(row, origin=BUNDLE, curve25519="B" * 43)
    reference = parse_megolm_event(event_at(sender, sender_key="B" * 43), room=ROOM)
    assert select_session(reference, [bundled, row]) == row
    assert select_session(reference, [bundled, replace(row, first_index=4)]) == bundled


def test_session_that_begins_later_is_unknown() -> None:
    sender = advanced_sender(3)
    row = row_of(MegolmReceiver.from_session_key(sender.session_key), DIRECT)
    reference = parse_megolm_event(event_at(sender), room=ROOM)
    with pytest.raises(UnknownSession):
        select_session(reference, [replace(row, first_index=4)])
    with pytest.raises(UnknownSession):
        select_session(replace(reference, room=MatrixRoomId("!other:example.org")), [row])
