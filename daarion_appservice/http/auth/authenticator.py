"""Authenticates requests, then counts them for the rate limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ...config import Settings, is_loopback
from ...errors import CityError, Unauthenticated
from ..limits.request_limits import RequestLimits
from .bearer_tokens import bearer_token, is_same_secret, stream_token
from .hosts import host_of
from .principals import Anonymous, Principal, ServicePrincipal
from .token_principals import TokenPrincipals

_NO_PRINCIPAL: Final = {"token_invalid", "citizen_id_too_long"}
"""The error codes of a token without a principal."""


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
