"""Encryption of a push for one browser (RFC 8291, with the content coding ``aes128gcm`` of RFC 8188)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .base64url import decode_base64url

_CURVE: Final = ec.SECP256R1()
_POINT_BYTES: Final = 65
_AUTH_BYTES: Final = 16
_SALT_BYTES: Final = 16
_RECORD_BYTES: Final = 4096
_LAST_RECORD: Final = b"\x02"
"""The delimiter after the content of the last record."""


@dataclass(frozen=True, slots=True)
class BrowserKeys:
    """The keys of a subscription."""

    p256dh: ec.EllipticCurvePublicKey
    auth: bytes

    @classmethod
    def read(cls, p256dh: str, auth: str) -> BrowserKeys:
        """Return the keys that a browser sent.

        Args:
            p256dh: An uncompressed point of P-256 in base64url.
            auth: 16 bytes in base64url.

        Raises:
            ValueError: One of them is something else; the text begins with its name.
        """
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, decode_base64url(p256dh, _POINT_BYTES))
        except ValueError:
            raise ValueError("p256dh: must be an uncompressed point of P-256 in base64url") from None
        try:
            return cls(key, decode_base64url(auth, _AUTH_BYTES))
        except ValueError:
            raise ValueError(f"auth: must be {_AUTH_BYTES} bytes in base64url") from None


def encrypt(
    content: bytes,
    browser: BrowserKeys,
    *,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the body of a request to a push service.

    Args:
        content: The payload, at most 3,993 bytes.
        browser: The keys of the subscription.
        sender: A key pair for this one push; None for a new one.
        salt: 16 bytes for this one push; None for random ones.
    """
    sender = sender or ec.generate_private_key(_CURVE)
    salt = salt or secrets.token_bytes(_SALT_BYTES)
    own, theirs = _point(sender.public_key()), _point(browser.p256dh)
    secret = _derive(sender.exchange(ec.ECDH(), browser.p256dh), browser.auth, b"WebPush: info\0" + theirs + own, 32)
    key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    record = AESGCM(key).encrypt(nonce, content + _LAST_RECORD, None)
    return salt + _RECORD_BYTES.to_bytes(4) + bytes([len(own)]) + own + record


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=salt, info=info).derive(secret)
