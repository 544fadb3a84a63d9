"""JSON of other devices and users: every function refuses it with an error of its own, and with no other exception."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import vodozemac
from hypothesis import given, settings
from hypothesis import strategies as st

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import (
    accounts,
    attachments,
    devices,
    inbound_sessions,
    key_bundles,
    key_requests,
    megolm_events,
    olm_events,
    olm_sessions,
    primitives,
    withheld,
)
from daarion_appservice.encryption.errors import EncryptionError, InvalidContent, UnknownSession, WrongContext
from daarion_appservice.encryption.olm_events import OlmEvent
from daarion_appservice.encryption.primitives import OlmAccount, OlmSession
from daarion_appservice.encryption.rows import KeyRequestRow
from daarion_appservice.encryption.signed_json import canonical_json
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "A" * 43, "A" * 44, "\ud800", "é", "\0", "m.megolm.v1.aes-sha2", "=", "ed25519:x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "ed25519:x"]), inner, max_size=3),
    max_leaves=5,
)


@dataclass
class Sample:
    """A valid JSON object and the function that takes it."""

    content: dict[str, Any]
    take: Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def samples() -> dict[str, Sample]:
    return _samples()


def _samples() -> dict[str, Sample]:
    server = KeyServer()
    alice, ghost = Peer(server, "@alice:example.org", "ALICE"), Peer(server, "@ghost:example.org", "GHOST")
    event = alice.send("text", [alice, ghost])
    (to_device,) = ghost.take_queue()
    (device,) = alice.store.devices[ghost.user].values()
    claim = server.claim(olm_sessions.claim_request([device]))
    olm = OlmEvent(alice.user, alice.account.curve25519, alice.account.ed25519, "m.room_key", {}, None)
    assert alice.store.outbound is not None
    (own,) = alice.store.inbound.values()
    ghost.receive(to_device)
    exported = primitives.MegolmReceiver.from_pickle(own.pickle, KEY).export_at(0)
    key = {"algorithm": accounts.MEGOLM, "room_id": ROOM, "session_id": own.session_id}
    forwarded = {**key, "session_key": exported, "sender_key": own.curve25519}
    request = KeyRequestRow("1", ghost.user, ROOM, own.session_id, alice.user, "ALICE", 0, 1)
    session_key = primitives.MegolmSender.from_pickle(alice.store.outbound.pickle, KEY)
    room_key = {**key, "session_id": session_key.session_id, "session_key": session_key.session_key}
    withheld_content = withheld.withheld_content(
        withheld.WithheldCode.UNVERIFIED, account=alice.account, session=alice.store.outbound
    )

    def decrypt_olm(content: dict[str, Any]) -> object:
        reference = olm_events.parse_olm_event(content, account=ghost.account)
        return olm_events.decrypt_olm_event(
            reference, account=ghost.account, sessions=list(ghost.store.olm.values()), key=KEY, now_ms=1
        )

    def verify(content: dict[str, Any]) -> object:
        return devices.verify_devices(content, user=alice.user, known={})

    def claimed(content: dict[str, Any]) -> object:
        return olm_sessions.start_sessions(content, [device], account=alice.account, key=KEY, now_ms=1)

    def bundled(content: dict[str, Any]) -> object:
        owners = {own.curve25519: alice.user}
        encoded = canonical_json({"room_keys": [content]})
        return key_bundles.import_bundle(encoded, room=ROOM, owners=owners, ghost=ghost.user, key=KEY)

    def with_content(content: dict[str, Any], event_type: str) -> OlmEvent:
        return OlmEvent(olm.sender, olm.curve25519, olm.ed25519, event_type, content, None)

    def file(content: dict[str, Any]) -> object:
        return attachments.EncryptedFile.parse(content)

    return {
        "room event": Sample(event, ghost.read),
        "olm event": Sample(to_device, decrypt_olm),
        "keys query": Sample(server.query(), verify),
        "keys claim": Sample(claim, claimed),
        "room key": Sample(
            room_key,
            lambda content: inbound_sessions.from_room_key(
                with_content(content, "m.room_key"), ghost=ghost.user, key=KEY
            ),
        ),
        "forwarded key": Sample(
            forwarded,
            lambda content: inbound_sessions.from_forwarded_key(
                with_content(content, "m.forwarded_room_key"), [request], ghost=ghost.user, key=KEY
            ),
        ),
        "bundle entry": Sample(forwarded, bundled),
        "bundle event": Sample(
            {"room_id": ROOM, "file": {}},
            lambda content: key_bundles.parse_bundle_event(with_content(content, "m.room_key_bundle")),
        ),
        "key request": Sample(
            {
                "type": "m.room_key_request",
                "sender": ghost.user,
                "content": key_requests.request_content(request, account=ghost.account, curve25519=own.curve25519),
            },
            key_requests.parse_request,
        ),
        "withheld code": Sample(
            {"type": "m.room_key.withheld", "sender": alice.user, "content": withheld_content}, withheld.parse_withheld
        ),
        "file": Sample(attachments.encrypt_attachment(b"text").at("mxc://a/b").to_content(), file),
    }


NAMES = [
    "room event",
    "olm event",
    "keys query",
    "keys claim",
    "room key",
    "forwarded key",
    "bundle entry",
    "bundle event",
    "key request",
    "withheld code",
    "file",
]


def test_unchanged_samples_are_taken(samples: dict[str, Sample]) -> None:
    assert list(samples) == NAMES
    for name, sample in samples.items():
        if name != "olm event":  # it was decrypted already
            sample.take(copy.deepcopy(sample.content))


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def changed_at(content: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    result = copy.deepcopy(content)
    target: Any = result
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return result


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_json_raises_nothing_else(samples: dict[str, Sample], name: str, data: st.DataObject) -> None:
    sample = samples[name]
    path = data.draw(st.sampled_from(list(paths(sample.content))))
    value = data.draw(JSON)
    with contextlib.suppress(EncryptionError):
        sample.take(changed_at(sample.content, path, value))


@pytest.mark.parametrize("name", ["room event", "olm event", "room key", "forwarded key", "keys claim"])
def test_damaged_ciphertext_raises_nothing_else(samples: dict[str, Sample], name: str) -> None:
    """Flip characters of the longest string: the ciphertext or key."""
    sample = samples[name]
    chosen = random.Random(1)
    texts = {path: text for path in paths(sample.content) if isinstance(text := _at(sample.content, path), str)}
    path = max(texts, key=lambda each: len(texts[each]))
    for _ in range(300):
        text = list(texts[path])
        for _ in range(chosen.randint(1, 3)):
            text[chosen.randrange(len(text))] = chosen.choice("ABCDwxyz+/")
        cut = "".join(text)[: chosen.choice([len(text), chosen.randrange(len(text))])]
        with contextlib.suppress(EncryptionError):
            sample.take(changed_at(sample.content, path, cut))


def _at(value: Any, path: tuple[Any, ...]) -> object:
    for key in path:
        value = value[key]
    return value


def test_panic_of_the_library_is_an_error_of_ours() -> None:
    with pytest.raises(InvalidContent, match="copy_from_slice"), primitives._raising(InvalidContent, "panic"):
        vodozemac.Ed25519PublicKey.from_base64("A" * 44)


def test_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), primitives._raising(InvalidContent, "panic"):
        raise KeyboardInterrupt


# --- Olm payloads -------------------------------------------------------------------------------------


@dataclass
class Line:
    """Two peers with an Olm session, over which any payload can be sent."""

    alice: Peer
    ghost: Peer
    session: OlmSession

    def payload(self) -> dict[str, Any]:
        return {
            "type": "m.dummy",
            "content": {},
            "sender": self.alice.user,
            "recipient": self.ghost.user,
            "recipient_keys": {"ed25519": self.ghost.account.ed25519},
            "keys": {"ed25519": self.alice.account.ed25519},
            "sender_device_keys": accounts.device_keys(self.alice.account, KEY),
        }

    def send(self, plaintext: bytes) -> OlmEvent:
        kind, body = self.session.encrypt(plaintext)
        ciphertext = {self.ghost.account.curve25519: {"type": kind, "body": body}}
        content = {"algorithm": accounts.OLM, "sender_key": self.alice.account.curve25519, "ciphertext": ciphertext}
        event = {"type": "m.room.encrypted", "sender": self.alice.user, "content": content}
        reference = olm_events.parse_olm_event(event, account=self.ghost.account)
        decrypted = olm_events.decrypt_olm_event(reference, account=self.ghost.account, sessions=[], key=KEY, now_ms=1)
        return decrypted.event


@pytest.fixture
def line() -> Line:
    server = KeyServer()
    alice, ghost = Peer(server, "@alice:example.org", "ALICE"), Peer(server, "@ghost:example.org", "GHOST")
    (device,) = alice.members_devices([ghost])
    (row,) = alice.claim((device,)).sessions
    return Line(alice, ghost, OlmSession.from_pickle(row.pickle, KEY))


def test_payload_names_the_device_of_its_sender(line: Line) -> None:
    event = line.send(canonical_json(line.payload()))
    assert event.device is not None
    assert (event.sender, event.device.device_id) == (line.alice.user, "ALICE")
    without = line.payload()
    del without["sender_device_keys"]
    assert line.send(canonical_json(without)).device is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sender": "@mallory:example.org"}, WrongContext),
        ({"recipient": "@other:example.org"}, WrongContext),
        ({"recipient_keys": {"ed25519": "A" * 43}}, WrongContext),
        ({"recipient_keys": None}, InvalidContent),
        ({"keys": {}}, InvalidContent),
        ({"keys": {"ed25519": "A" * 43}}, WrongContext),
        ({"type": 7}, InvalidContent),
        ({"content": []}, InvalidContent),
        ({"sender_device_keys": []}, InvalidContent),
    ],
)
def test_payload_of_another_context_is_refused(
    line: Line, changes: dict[str, object], error: type[EncryptionError]
) -> None:
    with pytest.raises(error):
        line.send(canonical_json(line.payload() | changes))


def test_payload_with_another_device_is_refused(line: Line) -> None:
    other = accounts.create_account(line.alice.user, "OTHER", KEY)
    with pytest.raises(WrongContext):
        line.send(canonical_json(line.payload() | {"sender_device_keys": accounts.device_keys(other, KEY)}))


@pytest.mark.parametrize("plaintext", [b"", b"[]", b"7", b"\xff", b"[" * 5000, b'{"sender":NaN}'])
def test_payload_that_is_no_object_is_refused(line: Line, plaintext: bytes) -> None:
    with pytest.raises(InvalidContent):
        line.send(plaintext)


def test_normal_message_without_session_is_unknown(line: Line) -> None:
    own = OlmAccount.from_pickle(line.ghost.account.pickle, KEY)
    kind, body = line.session.encrypt(b"first")
    accepted, _ = own.accept_session(line.alice.account.curve25519, primitives.OlmMessage.parse(kind, body))
    line.session.decrypt(primitives.OlmMessage.parse(*accepted.encrypt(b"reply")))
    assert line.session.encrypt(b"second")[0] == 1
    with pytest.raises(UnknownSession):
        line.send(b"third")


# --- Megolm payloads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"type": "m.x", "content": {}, "room_id": "!other:example.org"}, WrongContext),
        ({"type": "m.x", "content": {}}, WrongContext),
        ({"type": "m.x", "content": [], "room_id": ROOM}, InvalidContent),
        ({"content": {}, "room_id": ROOM}, InvalidContent),
        ({"type": "m.room.encrypted", "content": {}, "room_id": ROOM}, InvalidContent),
        ({"type": "m.room.name", "state_key": "", "content": {}, "room_id": ROOM}, InvalidContent),
    ],
)
def test_room_event_of_another_context_is_refused(payload: dict[str, Any], error: type[EncryptionError]) -> None:
    sender = primitives.MegolmSender()
    content = {"algorithm": accounts.MEGOLM, "session_id": sender.session_id}
    key = {**content, "session_key": sender.session_key, "room_id": ROOM}
    alice = UserId("@alice:example.org")
    olm = OlmEvent(alice, "A" * 43, "A" * 43, "m.room_key", key, None)
    row = inbound_sessions.from_room_key(olm, ghost=UserId("@ghost:example.org"), key=KEY)
    content["ciphertext"] = sender.encrypt(canonical_json(payload))
    event = {"type": "m.room.encrypted", "sender": alice, "event_id": "$1", "content": content}
    reference = megolm_events.parse_megolm_event(event, room=ROOM)
    with pytest.raises(error):
        megolm_events.decrypt_megolm_event(reference, row, seen=None, key=KEY)
    other = megolm_events.parse_megolm_event({**event, "sender": "@mallory:example.org"}, room=ROOM)
    with pytest.raises(WrongContext):
        megolm_events.decrypt_megolm_event(other, row, seen=None, key=KEY)


def test_encrypted_state_event_is_refused(samples: dict[str, Sample]) -> None:
    sample = samples["room event"]
    with pytest.raises(InvalidContent):
        sample.take({**sample.content, "state_key": ""})
