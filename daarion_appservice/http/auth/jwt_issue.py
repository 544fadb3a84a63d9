"""Issues citizens' tokens, for a city that has no sign-in service elsewhere (configuration ``sign_in``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import jwt

from ...city.types import CitizenId
from ...config import JwtSettings


@dataclass(frozen=True, slots=True)
class IssuedToken:
    text: str = field(repr=False)
    expires_at: int
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True)
class JwtIssue:
    """Issues JWTs signed by HS256 with the shared secret, which ``JwtCheck`` accepts with the same settings."""

    settings: JwtSettings
    _: KW_ONLY
    lifetime_s: float
    now_s: Callable[[], float] = time.time

    def token(self, citizen: CitizenId, name: str) -> IssuedToken:
        """Return a new token for ``citizen`` with the display name ``name``."""
        now = int(self.now_s())
        expires_at = now + int(self.lifetime_s)
        claims = {"sub": citizen, "name": name, "iat": now, "exp": expires_at}
        audience_claims = {"iss": self.settings.issuer, "aud": self.settings.audience}
        claims |= {claim: value for claim, value in audience_claims.items() if value}
        return IssuedToken(jwt.encode(claims, self.settings.secret.get_secret_value(), "HS256"), expires_at)
