"""Device keys of other users: verified, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import accounts, devices
from daarion_appservice.encryption.devices import DeviceList, verify_devices
from daarion_appservice.encryption.errors import EncryptionError, InvalidContent, InvalidSignature
from daarion_appservice.encryption.primitives import OlmAccount
from daarion_appservice.encryption.rows import DeviceRow
from daarion_appservice.encryption.signed_json import sign_json
from tests.parts.encryption_peer import KEY, KeyServer, Peer

ALICE = UserId("@alice:example.org")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def server() -> KeyServer:
    return KeyServer()


@pytest.fixture
def alice(server: KeyServer) -> Peer:
    return Peer(server, ALICE, "ALICE")


def verified(server: KeyServer, known: dict[str, DeviceRow] | None = None) -> DeviceList:
    return verify_devices(server.query(), user=ALICE, known=known or {})


def test_signed_device_is_taken_over(server: KeyServer, alice: Peer) -> None:
    expected = DeviceRow(ALICE, "ALICE", alice.account.curve25519, alice.account.ed25519, is_cross_signed=True)
    assert verified(server).devices == (expected,)


def replaced(name: str, value: object) -> Change:
    return lambda keys: keys.update({name: value})


def with_key(name: str, value: object) -> Change:
    return lambda keys: keys["keys"].update({name: value})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (replaced("user_id", "@mallory:example.org"), InvalidSignature),
        (replaced("device_id", "OTHER"), InvalidSignature),
        (replaced("algorithms", ["m.none"]), InvalidSignature),
        (replaced("signatures", {}), InvalidSignature),
        (replaced("signatures", {ALICE: {"ed25519:ALICE": "AAAA"}}), InvalidSignature),
        (replaced("keys", []), InvalidContent),
        (with_key("curve25519:ALICE", "A" * 43), InvalidSignature),
        (with_key("ed25519:ALICE", "A" * 43), InvalidSignature),
        # vodozemac panics at an Ed25519 key of 33 bytes.
        (with_key("ed25519:ALICE", "A" * 44), InvalidContent),
        (with_key("ed25519:ALICE", "\ud800"), InvalidContent),
        (replaced("extra", 1.5), InvalidContent),
        (replaced("extra", 1 << 60), InvalidContent),
        (replaced("extra", "\ud800"), InvalidContent),
    ],
)
def test_forged_device_is_refused(server: KeyServer, alice: Peer, change: Change, error: type[EncryptionError]) -> None:
    change(server.device_keys[alice.user]["ALICE"])
    found = verified(server)
    assert found.devices == ()
    assert [type(each) for each in found.refused.values()] == [error]


def test_unsigned_field_does_not_matter(server: KeyServer, alice: Peer) -> None:
    server.device_keys[alice.user]["ALICE"]["unsigned"] = {"device_display_name": "phone", "number": 1.5}
    assert len(verified(server).devices) == 1


def test_device_with_changed_keys_keeps_the_old_ones(server: KeyServer, alice: Peer) -> None:
    known = {device.device_id: device for device in verified(server).devices}
    Peer(server, ALICE, "ALICE")
    found = verified(server, known)
    assert found.devices == tuple(known.values())
    assert isinstance(found.refused["ALICE"], InvalidSignature)


def test_device_that_is_not_listed_is_gone(server: KeyServer, alice: Peer) -> None:
    known = {device.device_id: device for device in verified(server).devices}
    server.device_keys[alice.user].clear()
    assert verified(server, known).devices == ()


def test_new_identity_unsigns_a_device(server: KeyServer, alice: Peer) -> None:
    Peer(server, ALICE, "SECOND")
    signed = {device.device_id: device.is_cross_signed for device in verified(server).devices}
    assert signed == {"ALICE": False, "SECOND": True}


@pytest.mark.parametrize("field", ["master_keys", "self_signing_keys"])
@pytest.mark.parametrize(
    "change",
    [
        replaced("user_id", "@mallory:example.org"),
        replaced("usage", []),
        replaced("usage", "master self_signing"),
        replaced("keys", {}),
        replaced("keys", {"ed25519:x": "A" * 43}),
    ],
)
def test_malformed_identity_signs_nothing(server: KeyServer, alice: Peer, field: str, change: Change) -> None:
    change(getattr(server, field)[alice.user])
    assert [device.is_cross_signed for device in verified(server).devices] == [False]


def test_self_signing_key_without_master_signs_nothing(server: KeyServer, alice: Peer) -> None:
    server.self_signing_keys[alice.user]["signatures"] = {}
    assert [device.is_cross_signed for device in verified(server).devices] == [False]


def test_identity_of_a_server_does_not_sign_a_device(server: KeyServer, alice: Peer) -> None:
    other = Peer(KeyServer(), ALICE, "ALICE")
    server.master_keys, server.self_signing_keys = other.server.master_keys, other.server.self_signing_keys
    assert [device.is_cross_signed for device in verified(server).devices] == [False]


@pytest.mark.parametrize("response", [{}, {"device_keys": []}, {"device_keys": {ALICE: 7}}])
def test_malformed_response_is_refused(response: dict[str, Any]) -> None:
    with pytest.raises(InvalidContent):
        verify_devices(response, user=ALICE, known={})


def sign_changed(server: KeyServer, alice: Peer, change: Change) -> None:
    """Let the device sign changed keys itself."""
    account = OlmAccount.from_pickle(alice.account.pickle, KEY)
    keys = copy.deepcopy(accounts.device_keys(alice.account, KEY))
    change(keys)
    keys["signatures"] = {}
    server.device_keys[alice.user]["ALICE"] = sign_json(keys, user=ALICE, key_id="ALICE", sign=account.sign)


@pytest.mark.parametrize(
    "change", [replaced("user_id", "@mallory:example.org"), replaced("device_id", "OTHER"), replaced("user_id", None)]
)
def test_signed_device_that_names_another_is_refused(server: KeyServer, alice: Peer, change: Change) -> None:
    sign_changed(server, alice, change)
    assert verified(server).devices == ()


def test_padded_key_is_the_same_device(server: KeyServer, alice: Peer) -> None:
    sign_changed(server, alice, with_key("curve25519:ALICE", alice.account.curve25519 + "="))
    assert verified(server).devices[0].curve25519 == alice.account.curve25519


def test_devices_of_one_user_are_limited(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "MAX_DEVICES", 3)
    for name in "FEDC":
        Peer(server, "@many:example.org", name, cross_signed=False)
    many = UserId("@many:example.org")

    first = verify_devices(server.query(), user=many, known={})
    assert [device.device_id for device in first.devices] == ["C", "D", "E"]
    assert list(first.refused) == ["F"]

    for name in "AB":
        Peer(server, "@many:example.org", name, cross_signed=False)
    known = {device.device_id: device for device in first.devices}
    again = verify_devices(server.query(), user=many, known=known)
    assert [device.device_id for device in again.devices] == ["C", "D", "E"]
