"""The city's key for push services, and the tokens that it signs (VAPID, RFC 8292)."""

from __future__ import annotations

from typing import Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yarl import URL

from .base64url import encode_base64url

_INFO: Final = b"daarion-appservice web push key"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256 (FIPS 186-5)."""
_LIFETIME_S: Final = 12 * 3600
"""How long a token is valid; RFC 8292 allows a day."""
_RENEWAL_S: Final = 3600
"""A token is replaced when this much of its lifetime remains."""


class VapidKey:
    """The key pair of the city, derived from a secret, so that there is no further secret to keep.

    Args:
        secret: ``appservice.as_token``. With another one the key is another one, and browsers subscribe again at the next visit.
        contact: A ``mailto:`` or ``https:`` URI, at which push services reach the operator.
    """

    def __init__(self, secret: str, contact: str) -> None:
        # 16 bytes more than the order has: the remainder is as good as uniform (FIPS 186-5, A.2.1).
        octets = HKDF(hashes.SHA256(), 48, salt=None, info=_INFO).derive(secret.encode())
        self._key = ec.derive_private_key(int.from_bytes(octets) % (_ORDER - 1) + 1, ec.SECP256R1())
        self._contact = contact
        self._tokens: dict[str, tuple[str, int]] = {}

    @property
    def public_key(self) -> str:
        """The ``applicationServerKey`` of subscriptions: an uncompressed point in base64url."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return encode_base64url(point)

    def authorization(self, endpoint: URL, now_s: int) -> str:
        """Return the value of ``Authorization`` for a request to a push service.

        Args:
            endpoint: The URL of the subscription.
            now_s: Seconds since 1970.
        """
        audience = str(endpoint.origin())
        token, expires_s = self._tokens.get(audience, ("", 0))
        if expires_s - now_s < _RENEWAL_S:
            expires_s = now_s + _LIFETIME_S
            claims = {"aud": audience, "exp": expires_s, "sub": self._contact}
            token = jwt.encode(claims, self._key, algorithm="ES256")
            self._tokens = {name: kept for name, kept in self._tokens.items() if kept[1] > now_s}
            self._tokens[audience] = token, expires_s
        return f"vapid t={token}, k={self.public_key}"
