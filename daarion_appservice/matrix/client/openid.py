"""Verification of Matrix OpenID tokens with the homeserver that issued them, which must be the configured one.

With such a token a Matrix client proves its user id without revealing its access token.
Source: client-server API, "OpenID"; server-server API, ``/openid/userinfo``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from ...city.accounts import AccountProfile
from ...city.display_names import citizen_name
from ...city.event_fields import optional_text
from ...city.identity import Identities, is_user_id
from ...city.media import is_mxc
from ...city.types import UserId
from ...errors import (
    Forbidden,
    HomeserverError,
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverUnavailable,
    InvalidHomeserverResponse,
    InvalidInput,
    Unavailable,
)
from .homeserver import Homeserver

_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OpenId:
    """Verifies OpenID tokens, and looks up the profiles of their holders."""

    homeserver: Homeserver
    identities: Identities

    async def owner_of(self, token: str, server: str) -> UserId:
        """Return the user that an OpenID token was issued for.

        Args:
            token: the OpenID token.
            server: the name of the homeserver that issued it (``matrix_server_name``).

        Raises:
            Forbidden: the token is invalid, of another homeserver, or of a user of the service.
            Unavailable: the homeserver did not respond, or does not serve ``/openid/userinfo``.
        """
        self._check_domain(server)
        user = UserId(await self._request_user_id(token))
        if not is_user_id(user):
            raise _invalid_token()
        self._check_domain(user.partition(":")[2])
        if not self.identities.is_person(user):
            raise Forbidden("openid_foreign", f"{user} is a user of the city itself")
        return user

    async def profile_of(self, user: UserId) -> AccountProfile:
        """Return a user's profile, with the localpart as name if the name is missing, not displayable or not available."""
        localpart = user[1:].partition(":")[0]
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                profile = await self.homeserver.profile(user)
        except (HomeserverError, TimeoutError):
            return AccountProfile(localpart, is_known=False)
        avatar = optional_text(profile, "avatar_url")
        try:
            name = citizen_name(optional_text(profile, "displayname") or "")
        except InvalidInput:
            name = localpart
        return AccountProfile(name, avatar if avatar and is_mxc(avatar) else None)

    def _check_domain(self, server: str) -> None:
        domain = self.identities.domain
        if server != domain:
            raise Forbidden("openid_foreign", f"only accounts on {domain} are accepted; this one is on {server[:255]}")

    async def _request_user_id(self, token: str) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self.homeserver.openid_holder(token)
        except (HomeserverUnavailable, InvalidHomeserverResponse, HomeserverRateLimited, TimeoutError) as error:
            raise Unavailable(
                "homeserver_unavailable",
                "the homeserver, which resolves OpenID tokens, does not respond; try again",
                retry_after_s=_RETRY_S,
            ) from error
        except HomeserverRefused as error:
            if error.status == 401:
                raise _invalid_token() from error
            log.warning(
                "openid_unavailable",
                error=str(error),
                help="Synapse does not serve OpenID user information. Add `openid` to the `resources` of the listener "
                "in homeserver.yaml that serves homeserver.address",
            )
            raise Unavailable(
                "openid_unavailable",
                "the homeserver does not resolve OpenID tokens; the service's log has the remedy",
            ) from error


def _invalid_token() -> Forbidden:
    return Forbidden("openid_invalid", "the homeserver does not know this token: request a new one")
