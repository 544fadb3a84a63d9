"""Shared history (MSC4268): the sessions in a key bundle."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import key_bundles
from daarion_appservice.encryption.errors import InvalidContent
from daarion_appservice.encryption.key_bundles import import_bundle, parse_bundle_event
from daarion_appservice.encryption.olm_events import OlmEvent
from daarion_appservice.encryption.primitives import MegolmReceiver
from daarion_appservice.encryption.rows import KeyOrigin
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer, text_of
from tests.unit.encryption.test_inbound_sessions import ALICE, CURVE, GHOST, advanced_sender

OWNERS = {CURVE: ALICE}


def entry(**changes: object) -> dict[str, Any]:
    receiver = MegolmReceiver.from_session_key(advanced_sender().session_key)
    content: dict[str, Any] = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "sender_key": CURVE,
        "session_id": receiver.session_id,
        "session_key": receiver.export_at(0),
        "sender_claimed_keys": {"ed25519": CURVE},
    }
    return content | changes


def bundle(*entries: object) -> bytes:
    return json.dumps({"room_keys": entries, "withheld": []}).encode()


def test_sessions_of_known_devices_are_imported() -> None:
    found = import_bundle(bundle(entry(), entry()), room=ROOM, owners=OWNERS, ghost=GHOST, key=KEY)
    assert [(row.owner, row.origin, row.room) for row in found.sessions] == [(ALICE, KeyOrigin.BUNDLE, ROOM)] * 2
    assert found.refused == 0


def test_session_of_unknown_device_is_refused() -> None:
    found = import_bundle(bundle(entry(), entry(sender_key="B" * 43)), room=ROOM, owners=OWNERS, ghost=GHOST, key=KEY)
    assert len(found.sessions) == 1
    assert found.refused == 1


@pytest.mark.parametrize(
    "malformed",
    [None, 7, [], {}, entry(room_id="!other:example.org"), entry(session_key="AAAA"), entry(session_id="x")],
)
def test_malformed_entry_does_not_stop_the_import(malformed: object) -> None:
    found = import_bundle(bundle(malformed, entry()), room=ROOM, owners=OWNERS, ghost=GHOST, key=KEY)
    assert len(found.sessions) == 1
    assert found.refused == 1


@pytest.mark.parametrize("encoded", [b"", b"[]", b"{}", b"\xff", b'{"room_keys":{}}', b"[" * 5000])
def test_malformed_bundle_is_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidContent):
        import_bundle(encoded, room=ROOM, owners=OWNERS, ghost=GHOST, key=KEY)


def test_sessions_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_bundles, "MAX_SESSIONS", 2)
    found = import_bundle(bundle(entry(), entry(), entry()), room=ROOM, owners=OWNERS, ghost=GHOST, key=KEY)
    assert (len(found.sessions), found.refused) == (2, 1)


def test_message_before_the_invitation_is_read() -> None:
    server = KeyServer()
    alice, ghost = Peer(server, "@alice:example.org", "ALICE"), Peer(server, GHOST, "GHOST")
    event = alice.send("before", [alice])
    (row,) = alice.store.inbound.values()
    exported = MegolmReceiver.from_pickle(row.pickle, KEY).export_at(0)
    shared = entry(sender_key=row.curve25519, session_id=row.session_id, session_key=exported)
    found = import_bundle(bundle(shared), room=ROOM, owners={row.curve25519: alice.user}, ghost=ghost.user, key=KEY)
    ghost.keep(found.sessions[0])
    read = ghost.read(event)
    assert (text_of(read), read.origin) == ("before", KeyOrigin.BUNDLE)


@pytest.mark.parametrize("event_type", ["m.room_key_bundle", "io.element.msc4268.room_key_bundle"])
def test_bundle_event_names_room_and_file(event_type: str) -> None:
    event = OlmEvent(ALICE, CURVE, CURVE, event_type, {"room_id": ROOM, "file": {"v": "v2"}}, None)
    reference = parse_bundle_event(event)
    assert (reference.sender, reference.room, reference.file) == (ALICE, ROOM, {"v": "v2"})


@pytest.mark.parametrize(
    ("event_type", "content"),
    [
        ("m.dummy", {"room_id": ROOM, "file": {}}),
        ("m.room_key_bundle", {"room_id": ROOM}),
        ("m.room_key_bundle", {"room_id": 7, "file": {}}),
    ],
)
def test_malformed_bundle_event_is_refused(event_type: str, content: dict[str, Any]) -> None:
    with pytest.raises(InvalidContent):
        parse_bundle_event(OlmEvent(UserId(ALICE), CURVE, CURVE, event_type, content, None))
