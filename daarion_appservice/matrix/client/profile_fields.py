"""Custom fields of ghosts' profiles (MSC4133, spec 1.16), on homeservers that declare support for them."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final

import structlog

from ...city.identity import Identities
from ...city.types import UserId
from ...errors import HomeserverRateLimited, HomeserverRefused
from .homeserver import Homeserver

_CAPABILITY: Final = "m.profile_fields"
_UNSTABLE_CAPABILITY: Final = "uk.tcpip.msc4133.profile_fields"
_UNSTABLE: Final = "uk.tcpip.msc4133"
_UNSTABLE_BUT_STABLE: Final = "uk.tcpip.msc4133.stable"

log = structlog.get_logger()


class _Fields(Enum):
    """How the homeserver supports profile fields."""

    UNKNOWN = "not asked yet"
    NONE = "not at all"
    UNSTABLE = "by the path of the MSC"
    STABLE = "by the path of the spec"


class ProfileField:
    """One profile field, with the homeserver's support for it."""

    def __init__(self, homeserver: Homeserver, identities: Identities, name: str) -> None:
        self._homeserver = homeserver
        self._bot = identities.bot
        self._name = name
        self._fields = _Fields.UNKNOWN
        self._asking = asyncio.Lock()

    def ask_again(self) -> None:
        """Query the homeserver's capabilities again before the next write, because it may have another version now."""
        self._fields = _Fields.UNKNOWN

    @property
    def is_refused(self) -> bool:
        """Whether the homeserver is known not to support the field."""
        return self._fields is _Fields.NONE

    async def is_taken(self) -> bool:
        """Return whether the homeserver supports the field; the result is cached.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
        """
        async with self._asking:
            if self._fields is _Fields.UNKNOWN:
                self._fields = await self._ask()
        return not self.is_refused

    async def set(self, user: UserId, value: Any) -> None:
        """Set the field in a ghost's profile; None removes it. Raises HomeserverUnavailable or HomeserverRefused."""
        try:
            await self._homeserver.set_profile_field(user, self._name, value, is_stable=self._fields is _Fields.STABLE)
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            if value is not None or error.status != 404:
                raise

    async def _ask(self) -> _Fields:
        try:
            capabilities = await self._homeserver.capabilities(as_user=self._bot)
            features = (await self._homeserver.versions()).get("unstable_features", {})
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            log.debug("no_profile_fields", error=str(error))
            return _Fields.NONE
        fields = _fields(self._name, capabilities, features if isinstance(features, dict) else {})
        if fields is _Fields.NONE:
            log.debug("no_profile_fields")
        return fields


def _fields(name: str, capabilities: dict[str, Any], features: dict[str, Any]) -> _Fields:
    if _CAPABILITY in capabilities:
        return _Fields.STABLE if _is_allowed(name, capabilities[_CAPABILITY]) else _Fields.NONE
    if not features.get(_UNSTABLE) or not _is_allowed(name, capabilities.get(_UNSTABLE_CAPABILITY, {"enabled": True})):
        return _Fields.NONE
    return _Fields.STABLE if features.get(_UNSTABLE_BUT_STABLE) else _Fields.UNSTABLE


def _is_allowed(name: str, capability: Any) -> bool:
    match capability:
        case {"enabled": True, "allowed": list(allowed)}:
            return name in allowed
        case {"enabled": True, "disallowed": list(disallowed)}:
            return name not in disallowed
        case {"enabled": True}:
            return True
    return False
