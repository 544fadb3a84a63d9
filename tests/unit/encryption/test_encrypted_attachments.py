"""Encrypted attachments, against matrix-nio's implementation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nio.crypto.attachments import decrypt_attachment as decrypt_with_nio
from nio.crypto.attachments import encrypt_attachment as encrypt_with_nio

from daarion_appservice.encryption.attachments import EncryptedFile, decrypt_attachment, encrypt_attachment
from daarion_appservice.encryption.errors import InvalidAttachment, InvalidContent

URL = "mxc://example.org/file"


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_nio_decrypts_our_attachment(plaintext: bytes) -> None:
    encrypted = encrypt_attachment(plaintext)
    file = encrypted.at(URL).to_content()
    found = decrypt_with_nio(encrypted.ciphertext, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
    assert found == plaintext


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_attachment_of_nio_is_decrypted(plaintext: bytes) -> None:
    ciphertext, file = encrypt_with_nio(plaintext)
    assert decrypt_attachment(ciphertext, EncryptedFile.parse({**file, "url": URL})) == plaintext


def test_attachment_content_is_read_as_written() -> None:
    file = encrypt_attachment(b"content").at(URL)
    assert EncryptedFile.parse(file.to_content()) == file


def test_each_attachment_has_its_own_key() -> None:
    one, other = encrypt_attachment(b"same"), encrypt_attachment(b"same")
    assert one.key != other.key
    assert one.iv != other.iv
    assert one.iv[8:] == bytes(8)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 255))
def test_changed_ciphertext_is_refused(position: int, difference: int) -> None:
    encrypted = encrypt_attachment(bytes(100))
    changed = bytearray(encrypted.ciphertext)
    changed[position] ^= difference
    with pytest.raises(InvalidAttachment):
        decrypt_attachment(bytes(changed), encrypted.at(URL))


def changed(path: str, value: object) -> dict[str, Any]:
    content = encrypt_attachment(b"content").at(URL).to_content()
    target: dict[str, Any] = content
    *outer, last = path.split(".")
    for name in outer:
        target = target[name]
    target[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", "v1"),
        ("v", None),
        ("url", "https://example.org/file"),
        ("url", "mxc://example.org/\0"),
        ("url", "mxc://" + "x" * 3000),
        ("key", None),
        ("key.k", "AAAA"),
        ("key.k", 7),
        ("key.k", "?" * 43),
        ("key.kty", "RSA"),
        ("key.alg", "A128CTR"),
        ("iv", "AAAA"),
        ("iv", "\ud800"),
        ("hashes", []),
        ("hashes.sha256", "AAAA"),
    ],
)
def test_malformed_file_is_refused(path: str, value: object) -> None:
    with pytest.raises(InvalidContent):
        EncryptedFile.parse(changed(path, value))


def test_keys_are_not_printed() -> None:
    encrypted = encrypt_attachment(b"content")
    assert repr(encrypted) == "EncryptedAttachment(7 bytes)"
    assert repr(encrypted.at(URL)) == f"EncryptedFile({URL!r}, …)"
