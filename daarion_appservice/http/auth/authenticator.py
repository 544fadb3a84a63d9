"""Authenticates requests: resolves a request or a token to a principal."""

from __future__ import annotations

import time
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from aiohttp import web

from ...city.identity import Identities
from ...city.tokens import TokenDirectory
from ...city.types import AgentSlug
from ...config import Settings, is_loopback
from ...errors import Unauthenticated
from ...realtime.directory_cache import DirectoryCache
from ..errors import translate_database_errors
from ..limits.limits import Limits
from .hosts import host_of
from .jwt_check import JwtCheck
from .principals import Admin, AgentPrincipal, Anonymous, Citizen, Principal, ServicePrincipal

_BEARER: Final = "bearer"
_UNKNOWN: Final = "this agent token is unknown or was revoked"


class TokenEnded(Unauthenticated):
    """A token that was valid when its connection opened has expired or was revoked."""


class CityAuthenticator:
    """Authenticates requests of the city listener and applies the rate limits."""

    def __init__(
        self,
        settings: Settings,
        tokens: TokenDirectory,
        registry: DirectoryCache,
        limits: Limits,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._now_s = now_s
        self.limits = limits
        self._tokens = tokens
        self._registry = registry
        self._jwt = JwtCheck(settings.api.jwt)
        self._identities = Identities(settings.homeserver.domain, settings.appservice.bot)
        self._admin_token = settings.api.admin_token.get_secret_value()
        self._service_token = (settings.api.service_token or settings.matrix.internal_token).get_secret_value()

    async def principal(self, request: web.Request) -> Principal:
        """Return the principal of a request, and count the request for its rate limit.

        Raises:
            Unauthenticated: the token is invalid; an invalid token never counts as no token.
            TooManyRequests: a rate limit is exceeded.
        """
        return await self._let_in(request, bearer(request))

    async def stream_principal(self, request: web.Request) -> Principal:
        """Like ``principal``, for a WebSocket or an EventSource: a browser cannot set a header, so ``?token=`` is accepted."""
        return await self._let_in(request, bearer(request) or request.query.get("token"))

    async def sign_in(self, request: web.Request, token: str) -> Principal:
        """Return the principal of a token that was sent on the connection of ``request``.

        Raises:
            Unauthenticated: the token is invalid.
            TooManyRequests: the address sent too many invalid tokens.
        """
        return await self.limits.signing_in(request, token, self.holder)

    async def _let_in(self, request: web.Request, token: str | None) -> Principal:
        principal = await self.sign_in(request, token) if token else Anonymous()
        await self.limits.count(request, principal)
        return principal

    async def holder(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            Unauthenticated: the token is invalid.
            InvalidInput: the Matrix user id of the citizen's ghost would be too long.
        """
        if TokenDirectory.looks_like(token):
            return AgentPrincipal(await self._agent(token), token)
        if same(token, self._admin_token):
            return Admin()
        if same(token, self._service_token):
            return ServicePrincipal()
        citizen = await self._jwt.citizen(token)
        # HTTP and WebSockets both pass here, so nothing is stored for a citizen who cannot have a ghost.
        self._identities.citizen(citizen.id)
        return citizen

    def check_still_valid(self, principal: Principal) -> None:
        """Check that the token of an open connection has neither expired nor been revoked. Does no I/O.

        Raises:
            TokenEnded: the token is no longer valid.
        """
        match principal:
            case Citizen(expires_at=int(end)) if end <= self._now_s():
                raise TokenEnded("token_expired", "the token has expired: come back with a new one")
            case AgentPrincipal() if self._tokens.owner(principal.token) != principal.slug:
                raise TokenEnded("token_invalid", _UNKNOWN)

    async def _agent(self, token: str) -> AgentSlug:
        slug = self._tokens.owner(token)
        if slug is None:
            # Another process may have created the token a moment ago.
            await self._load()
            slug = self._tokens.owner(token)
        if slug is None:
            raise Unauthenticated("token_invalid", _UNKNOWN)
        return slug

    async def _load(self) -> None:
        with translate_database_errors():
            await self._registry.load()


class InternalAuthenticator:
    """Authenticates requests for ``/internal`` on the matrix listener."""

    def __init__(self, settings: Settings) -> None:
        self._internal_token = settings.matrix.internal_token.get_secret_value()
        self._is_open = not self._internal_token and is_loopback(settings.matrix.host)

    async def principal(self, request: web.Request) -> Principal:
        if self._is_open:
            # DNS rebinding: a web page on this machine must not get access by a host name that resolves to loopback.
            return ServicePrincipal() if is_loopback(host_of(request)) else Anonymous()
        token = bearer(request)
        if token is None:
            return Anonymous()
        if not same(token, self._internal_token):
            raise Unauthenticated("token_invalid", "this is not the internal token")
        return ServicePrincipal()


def bearer(request: web.Request) -> str | None:
    """Return the token of ``Authorization: Bearer …``, or None without the header.

    Raises:
        Unauthenticated: the header has another scheme or no token.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _BEARER or not token.strip():
        raise Unauthenticated("token_invalid", "the Authorization header must be `Bearer <token>`")
    return token.strip()


def same(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in constant time; an empty ``expected`` equals nothing."""
    return bool(expected) and compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
