"""Resolves tokens to principals: agents' tokens, the admin token, the service token, and citizens' JWTs."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...city.identity import Identities
from ...city.tokens import TokenDirectory
from ...city.types import AgentSlug
from ...config import Settings
from ...errors import Unauthenticated
from ...realtime.directory_cache import DirectoryCache
from ..errors import translate_database_errors
from .bearer_tokens import is_same_secret
from .jwt_check import JwtCheck
from .principals import Admin, AgentPrincipal, Citizen, Principal, ServicePrincipal


class TokenEnded(Unauthenticated):
    """A token that was valid when its connection opened has expired or was revoked."""


class TokenPrincipals:
    def __init__(
        self,
        settings: Settings,
        tokens: TokenDirectory,
        directory: DirectoryCache,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._now_s = now_s
        self._tokens = tokens
        self._directory = directory
        self._jwt = JwtCheck(settings.api.jwt)
        self._identities = Identities(settings.homeserver.domain, settings.appservice.bot)
        self._admin_token = settings.api.admin_token.get_secret_value()
        self._service_token = (settings.api.service_token or settings.matrix.internal_token).get_secret_value()

    async def principal(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            Unauthenticated: the token is invalid.
            InvalidInput: the Matrix user id of the citizen's ghost would be too long.
            Unavailable: the database or the JWKS does not respond.
        """
        if TokenDirectory.looks_like(token):
            return AgentPrincipal(await self._agent(token), token)
        if is_same_secret(token, self._admin_token):
            return Admin()
        if is_same_secret(token, self._service_token):
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
                raise TokenEnded("token_expired", "the token has expired")
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


_UNKNOWN_AGENT_TOKEN = ("token_invalid", "the agent token is unknown or was revoked")
