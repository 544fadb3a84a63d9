"""Nonces of sign-ins with a Matrix account, and the record of used ones.

    POST /city/sign-in/nonce  ─► <expires_s>.<random>.<hmac>         nothing is stored
    sign-in with the nonce    ─► signature and expiry are checked ─► the homeserver names the owner of the OpenID token
                              ─► digests of the nonce and of the OpenID token are stored; a second use is refused

A Matrix OpenID token has no audience and no nonce of its own. Single use of both limits what a recorded request, or a
token that was used before, can do.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ..errors import Forbidden
from .ports import CityTransaction, NowMs

NONCE_LIFETIME_S: Final = 300
"""Long enough for a person to answer the client's question whether the widget may know who they are."""
_REMEMBERED_MS: Final = 24 * 3600 * 1000
"""How long uses are remembered. Synapse issues OpenID tokens for one hour.

Nonces are remembered longer than they are valid: two sign-ins may have checked one just before its expiry, and the clock
of another process may be ahead.
"""
_RANDOM_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 16
_MAX_EXPIRY_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class Nonce:
    """A nonce of a sign-in; ``expires_at_ms`` is in milliseconds since 1970."""

    text: str
    expires_at_ms: int


class SignInNonces:
    """Issues signed nonces, and accepts each of them once.

    All processes of the city share ``secret``. Without ``is_required``, requests without a nonce are accepted.
    """

    def __init__(self, secret: str, now_ms: NowMs, *, is_required: bool) -> None:
        self._key = hmac.digest(secret.encode(), b"daarion sign-in nonces", sha256)
        self._now_ms = now_ms
        self._is_required = is_required

    def issue(self) -> Nonce:
        """Return a new nonce, which is valid for ``NONCE_LIFETIME_S``."""
        expires_s = self._now_ms() // 1000 + NONCE_LIFETIME_S
        signed = f"{expires_s}.{secrets.token_urlsafe(_RANDOM_BYTES)}"
        return Nonce(f"{signed}.{self._signature(signed)}", expires_s * 1000)

    def check(self, nonce: str | None) -> None:
        """Check the signature and the expiry of a nonce, before the homeserver is asked.

        Raises:
            Forbidden: the nonce is missing, is not one of this city, or has expired.
        """
        if nonce is None:
            if self._is_required:
                raise _invalid("the sign-in needs a nonce: POST /city/sign-in/nonce")
            return
        if self._expiry_ms(nonce) <= self._now_ms():
            raise _invalid("the nonce is not one of this city, or has expired: request a new one")

    async def use(self, tx: CityTransaction, nonce: str | None, token: str) -> None:
        """Record the use of a checked nonce and of a verified OpenID token, inside the transaction of the sign-in.

        Raises:
            Forbidden: one of them was used before.
        """
        now_ms = self._now_ms()
        await tx.accounts.forget_uses(before_ms=now_ms)
        until_ms = now_ms + _REMEMBERED_MS
        if nonce is not None and not await tx.accounts.use(_digest("nonce", nonce), until_ms=until_ms):
            raise _invalid("the nonce was used before: request a new one")
        if not await tx.accounts.use(_digest("openid", token), until_ms=until_ms):
            raise Forbidden("openid_used", "this OpenID token was used before: request a new one")

    def _expiry_ms(self, nonce: str) -> int:
        """Return the expiry time of a nonce; 0 for a text that ``issue`` did not return."""
        signed, _, signature = nonce.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode("utf-8", "replace")):
            return 0
        expiry = signed.partition(".")[0]
        return int(expiry) * 1000 if expiry.isascii() and expiry.isdecimal() and len(expiry) <= _MAX_EXPIRY_CHARS else 0

    def _signature(self, signed: str) -> str:
        digest = hmac.digest(self._key, signed.encode("utf-8", "replace"), sha256)
        return urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode().rstrip("=")


def _digest(kind: str, text: str) -> str:
    return sha256(f"{kind} {text}".encode("utf-8", "replace")).hexdigest()


def _invalid(detail: str) -> Forbidden:
    return Forbidden("nonce_invalid", detail)
