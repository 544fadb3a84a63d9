"""Canonical JSON and signatures, against the libraries of Synapse."""

from __future__ import annotations

from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json

from daarion_appservice.encryption.base64_text import decode_base64, encode_base64, normalized_key
from daarion_appservice.encryption.errors import InvalidContent, InvalidSignature
from daarion_appservice.encryption.primitives import OlmAccount, is_valid_signature
from daarion_appservice.encryption.signed_json import canonical_json, require_signature, sign_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)


@given(OBJECTS)
def test_canonical_json_equals_that_of_synapse(content: dict[str, Any]) -> None:
    assert canonical_json(content) == encode_canonical_json(content)


@given(OBJECTS)
def test_synapse_verifies_our_signature(content: dict[str, Any]) -> None:
    content.pop("signatures", None)
    account = OlmAccount()
    signed = sign_json(content, user="@a:b", key_id="D", sign=account.sign)
    public = decode_base64(account.ed25519, what="key")
    verify_signed_json(signed, "@a:b", decode_verify_key_bytes("ed25519:D", public))
    require_signature(signed, user="@a:b", key_id="D", public_key=account.ed25519)


def test_second_signature_keeps_the_first() -> None:
    one, other = OlmAccount(), OlmAccount()
    signed = sign_json({"a": 1}, user="@a:b", key_id="1", sign=one.sign)
    twice = sign_json(signed, user="@a:b", key_id="2", sign=other.sign)
    require_signature(twice, user="@a:b", key_id="1", public_key=one.ed25519)
    require_signature(twice, user="@a:b", key_id="2", public_key=other.ed25519)
    assert set(signed["signatures"]["@a:b"]) == {"ed25519:1"}


def test_changed_content_is_refused() -> None:
    account = OlmAccount()
    signed = sign_json({"a": 1}, user="@a:b", key_id="1", sign=account.sign)
    with pytest.raises(InvalidSignature):
        require_signature({**signed, "a": 2}, user="@a:b", key_id="1", public_key=account.ed25519)


@pytest.mark.parametrize(
    "signatures", [None, [], 7, {"@a:b": None}, {"@a:b": []}, {"@a:b": {"ed25519:1": 7}}, {"@a:b": {"ed25519:1": "é"}}]
)
def test_malformed_signatures_are_refused(signatures: object) -> None:
    with pytest.raises(InvalidSignature):
        require_signature({"signatures": signatures}, user="@a:b", key_id="1", public_key=OlmAccount().ed25519)


@pytest.mark.parametrize("value", [1.5, float("nan"), 1 << 53, -(1 << 53), "\ud800", [[{"a": 0.0}]]])
def test_value_without_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidContent):
        canonical_json({"value": value})


def test_deep_nesting_has_no_canonical_form() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidContent):
        canonical_json({"value": value})


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_key_of_another_length_verifies_nothing(length: int) -> None:
    signature = encode_base64(bytes(64))
    assert not is_valid_signature(encode_base64(bytes(length)), b"message", signature)
    with pytest.raises(InvalidContent):
        normalized_key(encode_base64(bytes(length)))


def test_key_has_one_form() -> None:
    key = OlmAccount().curve25519
    assert normalized_key(key + "=") == key
    # The last character holds two bits that no byte uses.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert normalized_key(key[:-1] + alphabet[alphabet.index(key[-1]) | 3]) == key
