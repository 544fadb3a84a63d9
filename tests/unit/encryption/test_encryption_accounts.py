"""Accounts of ghosts: uploads of keys, cross-signing, pickles."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import accounts, cross_signing
from daarion_appservice.encryption.errors import InvalidPickle
from daarion_appservice.encryption.primitives import PickleKey
from daarion_appservice.encryption.rows import AccountRow
from daarion_appservice.encryption.signed_json import require_signature
from tests.parts.encryption_peer import KEY

GHOST = UserId("@agent_x:example.org")


@pytest.fixture
def account() -> AccountRow:
    return accounts.create_account(GHOST, "DEVICE", KEY)


def top_up(row: AccountRow, count: int, unused: object) -> accounts.KeyUpload:
    return accounts.top_up(row, KEY, counts={"signed_curve25519": count}, unused_fallback_types=unused)


def test_first_upload_has_fifty_keys_and_a_fallback(account: AccountRow) -> None:
    body = top_up(account, 0, []).body
    assert len(body["one_time_keys"]) == 50
    (fallback,) = body["fallback_keys"].values()
    assert fallback["fallback"] is True
    for key in [*body["one_time_keys"].values(), fallback]:
        require_signature(key, user=GHOST, key_id="DEVICE", public_key=account.ed25519)


def test_unpublished_upload_is_repeated_as_it_was(account: AccountRow) -> None:
    first = top_up(account, 0, [])
    assert top_up(first.account, 0, []).body == first.body


def test_published_keys_are_not_uploaded_again(account: AccountRow) -> None:
    first = top_up(account, 0, [])
    published = accounts.mark_published(first.account, KEY)
    assert top_up(published, 50, ["signed_curve25519"]).body == {}
    second = top_up(published, 47, ["signed_curve25519"]).body
    assert len(second["one_time_keys"]) == 3
    assert not set(second["one_time_keys"]) & set(first.body["one_time_keys"])


def test_used_fallback_key_is_replaced(account: AccountRow) -> None:
    first = top_up(account, 0, [])
    published = accounts.mark_published(first.account, KEY)
    second = top_up(published, 50, []).body
    assert set(second) == {"fallback_keys"}
    assert set(second["fallback_keys"]) != set(first.body["fallback_keys"])


@pytest.mark.parametrize("unused", [None, {}, "signed_curve25519"])
def test_silent_homeserver_gets_no_fallback_key(account: AccountRow, unused: object) -> None:
    assert set(top_up(account, 0, unused).body) == {"one_time_keys"}


@pytest.mark.parametrize("count", [None, "50", -7, 1 << 70, [], 2.5])
def test_malformed_count_makes_at_most_fifty_keys(account: AccountRow, count: object) -> None:
    upload = accounts.top_up(account, KEY, counts={"signed_curve25519": count}, unused_fallback_types=[])
    assert len(upload.body.get("one_time_keys", {})) in {0, 50}


def test_device_keys_have_both_signatures(account: AccountRow) -> None:
    keys = accounts.device_keys(account, KEY)
    self_signing = next(iter(cross_signing.signing_keys_upload(account, KEY)["self_signing_key"]["keys"].values()))
    require_signature(keys, user=GHOST, key_id="DEVICE", public_key=account.ed25519)
    require_signature(keys, user=GHOST, key_id=self_signing, public_key=self_signing)
    assert cross_signing.device_signature_upload(account, KEY) == {GHOST: {"DEVICE": keys}}


def test_new_device_keeps_the_signing_keys(account: AccountRow) -> None:
    second = accounts.create_account(GHOST, "SECOND", KEY, signing_keys_of=account)
    response = identity_of(account)
    assert cross_signing.has_identity(response, second, KEY)
    assert (second.curve25519, second.ed25519) != (account.curve25519, account.ed25519)


def identity_of(row: AccountRow) -> dict[str, Any]:
    upload = cross_signing.signing_keys_upload(row, KEY)
    return {
        "master_keys": {row.ghost: upload["master_key"]},
        "self_signing_keys": {row.ghost: upload["self_signing_key"]},
        "device_keys": {row.ghost: {row.device_id: accounts.device_keys(row, KEY)}},
    }


def test_missing_identity_is_found(account: AccountRow) -> None:
    response = identity_of(account)
    assert cross_signing.has_identity(response, account, KEY)
    for field in ("master_keys", "self_signing_keys"):
        missing: list[object] = [{}, {GHOST: []}, {GHOST: {"keys": {}}}, None]
        for wrong in missing:
            assert not cross_signing.has_identity({**response, field: wrong}, account, KEY)
    other = accounts.create_account(GHOST, "DEVICE", KEY)
    assert not cross_signing.has_identity(response, other, KEY)


def test_device_with_other_keys_is_found(account: AccountRow) -> None:
    response = identity_of(account)
    assert cross_signing.has_device(response, account) is True
    assert cross_signing.has_device({"device_keys": {GHOST: {}}}, account) is None
    assert cross_signing.has_device({}, account) is None
    other = accounts.create_account(GHOST, "DEVICE", KEY)
    assert cross_signing.has_device(response, other) is False
    malformed = copy.deepcopy(response)
    malformed["device_keys"][GHOST]["DEVICE"] = []
    assert cross_signing.has_device(malformed, account) is False


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_pickle_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidPickle, match="32 are needed"):
        PickleKey(bytes(length))


def test_pickle_under_another_key_is_refused(account: AccountRow) -> None:
    with pytest.raises(InvalidPickle):
        accounts.device_keys(account, PickleKey(bytes(32)))
    with pytest.raises(InvalidPickle):
        accounts.mark_published(replace(account, pickle="damaged"), KEY)


def test_pickle_key_is_not_printed() -> None:
    assert "0123" not in repr(KEY)
