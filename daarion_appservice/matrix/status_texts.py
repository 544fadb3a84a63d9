"""The status text of ghosts as a field of their profile (MSC4133, spec 1.16), for clients that show no ``m.presence``.

Only where the homeserver says that it can, and only on a change: what stands there is remembered with the ghost.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final

import structlog

from ..city.types import UserId
from ..errors import HomeserverAway, HomeserverLimited, HomeserverRefused
from .ghosts import Ghosts
from .homeserver import Homeserver
from .namespace import Namespace

FIELD: Final = "org.matrix.msc4426.status"
_CAPABILITY: Final = "m.profile_fields"
_UNSTABLE_CAPABILITY: Final = "uk.tcpip.msc4133.profile_fields"
_UNSTABLE: Final = "uk.tcpip.msc4133"
_UNSTABLE_BUT_STABLE: Final = "uk.tcpip.msc4133.stable"

log = structlog.get_logger()


class _Fields(Enum):
    """Which way the homeserver takes fields of profiles."""

    UNKNOWN = "not asked yet"
    NONE = "not at all"
    UNSTABLE = "by the path of the MSC"
    STABLE = "by the path of the spec"


class StatusTexts:
    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, namespace: Namespace) -> None:
        self._homeserver = homeserver
        self._ghosts = ghosts
        self._bot = namespace.bot
        self._fields = _Fields.UNKNOWN
        self._asking = asyncio.Lock()
        self._refused: dict[UserId, str | None] = {}
        """What the homeserver would not take, so that it is not asked again for the same."""

    def ask_again(self) -> None:
        """The homeserver may be another version now."""
        self._fields = _Fields.UNKNOWN
        self._refused.clear()

    def is_right(self, user: UserId, text: str | None) -> bool:
        """Whether there is nothing to do for ``user`` to show ``text``."""
        return (
            self._fields is _Fields.NONE
            or self._ghosts.status_text(user) == text
            or (user in self._refused and self._refused[user] == text)
        )

    async def show(self, user: UserId, text: str | None) -> None:
        """Have ``text``, or none, stand in the profile. Raises HomeserverAway, HomeserverLimited, and what databases raise."""
        async with self._asking:
            if self._fields is _Fields.UNKNOWN:
                self._fields = await self._ask()
        if self.is_right(user, text):
            return
        try:
            value = None if text is None else {"text": text}
            await self._homeserver.set_profile_field(user, FIELD, value, is_stable=self._fields is _Fields.STABLE)
        except (HomeserverAway, HomeserverLimited):
            raise
        except HomeserverRefused as error:
            if text is None and error.status == 404:
                await self._ghosts.shows_text(user, None)
                return
            self._refused[user] = text
            log.warning("status_text_refused", user=user, error=str(error), help="it is shown with presence only")
        else:
            self._refused.pop(user, None)
            await self._ghosts.shows_text(user, text)

    async def _ask(self) -> _Fields:
        try:
            capabilities = await self._homeserver.capabilities(as_user=self._bot)
            features = (await self._homeserver.versions()).get("unstable_features", {})
        except HomeserverLimited:
            raise
        except HomeserverRefused as error:
            log.debug("no_profile_fields", error=str(error))
            return _Fields.NONE
        fields = _fields(capabilities, features if isinstance(features, dict) else {})
        if fields is _Fields.NONE:
            log.debug("no_profile_fields")
        return fields


def _fields(capabilities: dict[str, Any], features: dict[str, Any]) -> _Fields:
    if _CAPABILITY in capabilities:
        return _Fields.STABLE if _is_allowed(capabilities[_CAPABILITY]) else _Fields.NONE
    if not features.get(_UNSTABLE) or not _is_allowed(capabilities.get(_UNSTABLE_CAPABILITY, {"enabled": True})):
        return _Fields.NONE
    return _Fields.STABLE if features.get(_UNSTABLE_BUT_STABLE) else _Fields.UNSTABLE


def _is_allowed(capability: Any) -> bool:
    match capability:
        case {"enabled": True, "allowed": list(allowed)}:
            return FIELD in allowed
        case {"enabled": True, "disallowed": list(disallowed)}:
            return FIELD not in disallowed
        case {"enabled": True}:
            return True
    return False
