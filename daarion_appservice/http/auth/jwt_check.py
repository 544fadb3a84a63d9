"""Verifies citizens' tokens: JWTs signed by HS256 with a shared secret, or by RS256, ES256 or EdDSA with a key pair."""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from typing import Any, Final

import jwt

from ...city.identity import is_citizen_id
from ...city.text_sanitizing import one_line
from ...city.types import CitizenId
from ...config import JwtSettings
from ...errors import Unauthenticated, Unavailable
from .principals import Citizen

_SECRET_ALGORITHMS: Final = ("HS256",)
_KEY_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
_JWKS_TIMEOUT_S: Final = 5
_JWKS_ERRORS: Final = (ValueError, TypeError, RecursionError, OSError, HTTPException)
"""What PyJWT passes on for a JWKS that is not JSON, nested too deep, or not received."""


class JwtCheck:
    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._secret = settings.secret.get_secret_value()
        self._jwks = jwt.PyJWKClient(settings.jwks_url, timeout=_JWKS_TIMEOUT_S) if settings.jwks_url else None
        self._claim, _, self._claim_value = settings.admin_claim.partition("=")

    async def citizen(self, token: str) -> Citizen:
        """Return the citizen whom a JWT identifies.

        Raises:
            Unauthenticated: the token is invalid, with the reason.
            Unavailable: the JWKS cannot be fetched.
        """
        if not token.isascii():
            raise Unauthenticated("token_invalid", "the token is not a JWT")
        try:
            key, algorithms = await self._key_for(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                issuer=self._settings.issuer or None,
                audience=self._settings.audience or None,
                leeway=self._settings.leeway_s,
                options={"require": ["exp", "sub"], "verify_aud": bool(self._settings.audience)},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            # PyJWT passes on ValueError and TypeError for a published key of another type than the token's algorithm.
            raise Unauthenticated("token_invalid", f"the token is invalid: {error}") from error
        return Citizen(
            _citizen_id(claims["sub"]),
            _name(claims),
            self._is_admin(claims),
            self._expires_at(claims),
            # PyJWT has verified that it is a number, or digits.
            int(claims["iat"]) if claims.get("iat") is not None else None,
        )

    def _expires_at(self, claims: dict[str, Any]) -> int:
        """Return when the token ends, in seconds since 1970, with the leeway: open WebSockets close then."""
        # An integer: PyJWT also accepts a string of digits, and an `exp` too large for a float.
        return int(claims["exp"]) + int(self._settings.leeway_s)

    async def _key_for(self, token: str) -> tuple[Any, tuple[str, ...]]:
        # The configured key decides which algorithms are accepted, not the token: otherwise a token could be signed by
        # HS256 with the public key as its secret (algorithm confusion).
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm in _SECRET_ALGORITHMS and self._secret:
            return self._secret, _SECRET_ALGORITHMS
        if algorithm in _KEY_ALGORITHMS and self._settings.public_key:
            return self._settings.public_key, _KEY_ALGORITHMS
        if algorithm in _KEY_ALGORITHMS and self._jwks is not None:
            return await asyncio.to_thread(_jwks_key, self._jwks, token), _KEY_ALGORITHMS
        raise jwt.InvalidAlgorithmError(f"tokens signed with {algorithm} are not accepted")

    def _is_admin(self, claims: dict[str, Any]) -> bool:
        value = claims.get(self._claim) if self._claim else None
        if not self._claim_value:
            return value is True
        return self._claim_value in value if isinstance(value, list) else value == self._claim_value


def _jwks_key(jwks: jwt.PyJWKClient, token: str) -> Any:
    """Return the key that the token names. Blocks while the JWKS is fetched, once in five minutes."""
    try:
        jwks.get_jwk_set()
    except (jwt.PyJWTError, *_JWKS_ERRORS) as error:
        raise _jwks_unavailable() from error
    try:
        return jwks.get_signing_key_from_jwt(token).key
    except (jwt.PyJWKClientConnectionError, *_JWKS_ERRORS) as error:
        raise _jwks_unavailable() from error


def _jwks_unavailable() -> Unavailable:
    return Unavailable("jwks_unavailable", "the keys that verify tokens (JWKS) cannot be fetched")


def _citizen_id(sub: str) -> CitizenId:
    if not is_citizen_id(sub):
        raise Unauthenticated("token_invalid", "the `sub` of the token is not a valid citizen id")
    return CitizenId(sub)


def _name(claims: dict[str, Any]) -> str:
    for claim in ("name", "preferred_username"):
        name = claims.get(claim)
        # JSON escapes can produce lone surrogates and U+0000.
        if isinstance(name, str) and (clean := one_line(name.encode("utf-8", "replace").decode().replace("\0", ""))):
            return clean
    return str(claims["sub"])
