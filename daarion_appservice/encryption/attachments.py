"""Encrypts and decrypts attachments: ``EncryptedFile`` v2, AES-256 in counter mode with a SHA-256 of the ciphertext.

The counter mode does not authenticate: the hash in the event does, so no byte is decrypted before it was compared.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from .base64_text import decode_base64, encode_base64
from .errors import InvalidAttachment, InvalidContent
from .json_fields import Json, object_field, text_field

_VERSION: Final = "v2"
_KEY_BYTES = 32
_IV_BYTES = 16
_COUNTER_BYTES = 8
_MAX_URL = 2048


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """The key of one file, as ``EncryptedFile`` in an event states it."""

    url: str
    """The ``mxc://`` URI of the ciphertext."""
    key: bytes
    iv: bytes
    """The first counter block, 16 bytes."""
    sha256: bytes
    """The hash of the ciphertext."""

    def __repr__(self) -> str:
        return f"EncryptedFile({self.url!r}, …)"

    @classmethod
    def parse(cls, content: Json) -> EncryptedFile:
        """Read the field ``file`` of an event.

        Args:
            content: The object; any JSON.

        Raises:
            InvalidContent: The object is not an ``EncryptedFile`` of version 2.
        """
        key = object_field(content, "key")
        if content.get("v") != _VERSION or (key.get("kty"), key.get("alg")) != ("oct", "A256CTR"):
            raise InvalidContent("not an EncryptedFile of version 2")
        url = text_field(content, "url")
        if not url.startswith("mxc://") or "\0" in url or len(url) > _MAX_URL:
            raise InvalidContent("the url of the file is not an mxc:// URI")
        return cls(
            url,
            _octets(key.get("k"), _KEY_BYTES, "the key of the file", url_safe=True),
            _octets(content.get("iv"), _IV_BYTES, "the iv of the file"),
            _octets(object_field(content, "hashes").get("sha256"), 32, "the sha256 of the file"),
        )

    def to_content(self) -> dict[str, Any]:
        """Return the ``EncryptedFile`` for an event."""
        return {
            "v": _VERSION,
            "url": self.url,
            "key": {
                "kty": "oct",
                "alg": "A256CTR",
                "ext": True,
                "key_ops": ["encrypt", "decrypt"],
                "k": encode_base64(self.key, url_safe=True),
            },
            "iv": encode_base64(self.iv),
            "hashes": {"sha256": encode_base64(self.sha256)},
        }


@dataclass(frozen=True, slots=True)
class EncryptedAttachment:
    """A ciphertext to upload, and what decrypts it once its URI is known."""

    ciphertext: bytes
    key: bytes
    iv: bytes
    sha256: bytes

    def __repr__(self) -> str:
        return f"EncryptedAttachment({len(self.ciphertext)} bytes)"

    def at(self, url: str) -> EncryptedFile:
        """Return the file after it was uploaded to ``url``, an ``mxc://`` URI."""
        return EncryptedFile(url, self.key, self.iv, self.sha256)


def encrypt_attachment(plaintext: bytes, *, random: Callable[[int], bytes] = os.urandom) -> EncryptedAttachment:
    """Encrypt a file with a key of its own.

    Args:
        plaintext: The file. 100 MB take about 0.15 s: use a thread for large files.
        random: Returns a number of random bytes.

    Returns:
        The ciphertext, as long as the plaintext, and its key.
    """
    key = random(_KEY_BYTES)
    # The counter begins at 0, so that implementations with a counter of 64 and of 128 bits agree.
    iv = random(_IV_BYTES - _COUNTER_BYTES) + bytes(_COUNTER_BYTES)
    encryptor = Cipher(AES(key), CTR(iv)).encryptor()
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    return EncryptedAttachment(ciphertext, key, iv, hashlib.sha256(ciphertext).digest())


def decrypt_attachment(ciphertext: bytes, file: EncryptedFile) -> bytes:
    """Decrypt a file.

    Args:
        ciphertext: The downloaded bytes.
        file: The key and the hash from the event.

    Returns:
        The plaintext.

    Raises:
        InvalidAttachment: The bytes are not those that the sender encrypted.
    """
    if not hmac.compare_digest(hashlib.sha256(ciphertext).digest(), file.sha256):
        raise InvalidAttachment(f"{file.url} does not have the hash that its event states")
    decryptor = Cipher(AES(file.key), CTR(file.iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def _octets(text: object, length: int, what: str, *, url_safe: bool = False) -> bytes:
    octets = decode_base64(text, what=what, url_safe=url_safe)
    if len(octets) != length:
        raise InvalidContent(f"{what} has {len(octets)} bytes, {length} are needed")
    return octets
