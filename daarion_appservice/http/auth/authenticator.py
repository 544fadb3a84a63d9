"""Authenticates requests: bearer token (RFC 6750) ─► principal, and counts them for the rate limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from aiohttp import hdrs, web

from ...city.erased_people import ErasedIds
from ...city.identity import Identities
from ...city.tokens import TokenDirectory
from ...city.types import AgentSlug
from ...config import Settings, is_loopback
from ...errors import CityError, Unauthenticated
from ...realtime.directory_cache import DirectoryCache
from ..database_errors import translate_database_errors
from ..limits.request_limits import RequestLimits
from .hosts import host_of
from .jwt_check import JwtCheck
from .principals import Admin, AgentPrincipal, Anonymous, Citizen, Principal, ServicePrincipal

_BEARER: Final = "bearer"
_NO_PRINCIPAL: Final = {"token_invalid", "citizen_id_too_long"}
"""The error codes of a token without a principal."""
_ERASED: Final = ("account_erased", "this account was erased; sign in again to start a new one")
_UNKNOWN_AGENT_TOKEN: Final = ("token_invalid", "the agent token is unknown or was revoked")


@dataclass(frozen=True, slots=True)
class CityAuthenticator:
    """Authenticates requests of the city listener, and counts each for its principal or address."""

    tokens: TokenPrincipals
    limits: RequestLimits

    async def principal(self, request: web.Request) -> Principal:
        """Return the principal of a request, and count the request for its rate limit.

        Raises:
            Unauthenticated: the token is invalid; an invalid token never counts as no token.
            TooManyRequests: a rate limit is exceeded.
        """
        return await self._authenticate_and_count(request, is_stream=False)

    async def stream_principal(self, request: web.Request) -> Principal:
        """Like ``principal``, for a WebSocket or an EventSource, which may have its token in the query."""
        return await self._authenticate_and_count(request, is_stream=True)

    async def _authenticate_and_count(self, request: web.Request, *, is_stream: bool) -> Principal:
        try:
            token = stream_token(request) if is_stream else bearer_token(request)
            principal = await self.authenticate(request, token) if token else Anonymous()
        except CityError as error:
            if error.code in _NO_PRINCIPAL:
                await self.limits.count_address(request)
            raise
        await self.limits.count(request, principal)
        return principal

    async def authenticate(self, request: web.Request, token: str) -> Principal:
        """Return the principal of a token that was sent with ``request`` or later on its connection.

        The limit of wrong tokens is checked first, so that an address that guesses tokens does not reach the database.

        Raises:
            Unauthenticated: the token is invalid.
            TooManyRequests: the address sent too many wrong tokens.
        """
        self.limits.check_token_guesses(request)
        try:
            return await self.tokens.principal(token)
        except Unauthenticated as error:
            await self.limits.count_wrong_token(request, token, error)
            raise


class InternalAuthenticator:
    """Authenticates requests for ``/internal`` on the matrix listener."""

    def __init__(self, settings: Settings) -> None:
        self._internal_token = settings.matrix.internal_token.get_secret_value()
        self._is_open = not self._internal_token and is_loopback(settings.matrix.host)

    async def principal(self, request: web.Request) -> Principal:
        """Return the principal of a request: a service, or anonymous without a token.

        Raises:
            Unauthenticated: the token is invalid.
        """
        if self._is_open:
            # DNS rebinding: a web page on this machine must not get access by a host name that resolves to loopback.
            return ServicePrincipal() if is_loopback(host_of(request)) else Anonymous()
        token = bearer_token(request)
        if token is None:
            return Anonymous()
        if not is_same_secret(token, self._internal_token):
            raise Unauthenticated("token_invalid", "the internal token is invalid")
        return ServicePrincipal()


class TokenEnded(Unauthenticated):
    """A token that was valid when its connection opened has expired or was revoked."""


class TokenPrincipals:
    """Resolves tokens to principals: agents' tokens, the admin token, the service token, and citizens' JWTs."""

    def __init__(
        self,
        settings: Settings,
        tokens: TokenDirectory,
        directory: DirectoryCache,
        erased: ErasedIds,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._now_s = now_s
        self._tokens = tokens
        self._directory = directory
        self._erased = erased
        self._jwt = JwtCheck(settings.api.jwt)
        self._identities = Identities(settings.homeserver.domain, settings.appservice.bot)
        self._admin_token = settings.api.admin_token.get_secret_value()
        self._service_token = (settings.api.service_token or settings.matrix.internal_token).get_secret_value()

    async def principal(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            Unauthenticated: the token is invalid, or from before the erasure of its citizen.
            InvalidInput: the Matrix user id of the citizen's ghost would be too long.
            Unavailable: the database or the JWKS does not respond.
        """
        if TokenDirectory.is_agent_token(token):
            return AgentPrincipal(await self._agent(token), token)
        if is_same_secret(token, self._admin_token):
            return Admin()
        if is_same_secret(token, self._service_token):
            return ServicePrincipal()
        citizen = await self._jwt.citizen(token)
        # HTTP and WebSockets both pass here, so nothing is stored for a citizen who cannot have a ghost.
        self._identities.citizen(citizen.id)
        if self._is_erased(citizen):
            raise Unauthenticated(*_ERASED)
        return citizen

    def _is_erased(self, citizen: Citizen) -> bool:
        """Return whether the citizen was erased after the token was issued, or is being erased.

        A token without `iat` is accepted again after the erasure.
        """
        erased = self._erased.get(citizen.id)
        if erased is None:
            return False
        if citizen.issued_at is None:
            return erased.erased_at_ms is None
        return erased.covers(citizen.issued_at * 1000)

    def check_still_valid(self, principal: Principal) -> None:
        """Check that the token of an open connection has neither expired nor been revoked, by an erasure either. Does no I/O.

        Raises:
            TokenEnded: the token is no longer valid.
        """
        match principal:
            case Citizen(expires_at=int(end)) if end <= self._now_s():
                raise TokenEnded("token_expired", "the token has expired")
            case Citizen() if self._is_erased(principal):
                raise TokenEnded(*_ERASED)
            case AgentPrincipal() if self._tokens.owner(principal.token) != principal.slug:
                raise TokenEnded(*_UNKNOWN_AGENT_TOKEN)

    async def _agent(self, token: str) -> AgentSlug:
        slug = self._tokens.owner(token)
        if slug is None:
            # Another process may have created the token a moment ago.
            with translate_database_errors():
                await self._directory.load()
            slug = self._tokens.owner(token)
        if slug is None:
            raise Unauthenticated(*_UNKNOWN_AGENT_TOKEN)
        return slug


def bearer_token(request: web.Request) -> str | None:
    """Return the token of ``Authorization: Bearer …``, or None without the header.

    Raises:
        Unauthenticated: the header has another scheme or no token.
    """
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _BEARER or not token.strip():
        raise Unauthenticated("token_invalid", "the Authorization header must be `Bearer <token>`")
    return token.strip()


def stream_token(request: web.Request) -> str | None:
    """Return the token of a WebSocket or EventSource request: a browser cannot set a header, so ``?token=`` is accepted.

    Raises:
        Unauthenticated: the Authorization header has another scheme or no token.
    """
    return bearer_token(request) or request.query.get("token")


def is_same_secret(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in constant time; an empty ``expected`` equals nothing."""
    return bool(expected) and compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
