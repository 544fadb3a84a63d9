"""Custom fields of ghosts' profiles (MSC4133, spec 1.16): the status text, and the role of an agent.

    org.matrix.msc4426.status   {"text": "…"}, for clients that show no ``m.presence``
    space.daarion.role          {"kind": "assistant", "title": "…", "node": "node-1", "node_role": "guardian",
                                 "microdao": "daarion", "microdao_role": "scribe", "color": "#3b82f6"}

Keys of the role without a value are omitted. A field is written only if the homeserver declares support for it, and
only on a change: the current values are stored in the table ``ghosts``.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final

import orjson
import structlog

from ...city.identity import Identities
from ...city.places import microdao_role, node_role
from ...city.types import Agent, UserId
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.homeserver import Homeserver
from ..client.refusals import is_unregistered
from .ghosts import Ghosts

STATUS_FIELD: Final = "org.matrix.msc4426.status"
ROLE_FIELD: Final = "space.daarion.role"

_CAPABILITY: Final = "m.profile_fields"
_UNSTABLE_CAPABILITY: Final = "uk.tcpip.msc4133.profile_fields"
_UNSTABLE_FEATURE: Final = "uk.tcpip.msc4133"
_STABLE_FEATURE: Final = "uk.tcpip.msc4133.stable"

log = structlog.get_logger()


class FieldSupport(Enum):
    """How the homeserver supports a profile field."""

    UNKNOWN = "not requested yet"
    NONE = "not at all"
    UNSTABLE = "by the path of the MSC"
    STABLE = "by the path of the spec"


class ProfileField:
    """One profile field, with the homeserver's support for it."""

    def __init__(self, homeserver: Homeserver, identities: Identities, name: str) -> None:
        self._homeserver = homeserver
        self._bot = identities.bot
        self._name = name
        self._support = FieldSupport.UNKNOWN
        self._lock = asyncio.Lock()

    def forget_support(self) -> None:
        """Request the homeserver's capabilities again before the next write: it may have another version now."""
        self._support = FieldSupport.UNKNOWN

    @property
    def is_unsupported(self) -> bool:
        """Whether the homeserver is known not to support the field."""
        return self._support is FieldSupport.NONE

    async def is_supported(self) -> bool:
        """Return whether the homeserver supports the field; the result is cached.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
        """
        async with self._lock:
            if self._support is FieldSupport.UNKNOWN:
                self._support = await self._request_support()
        return not self.is_unsupported

    async def set(self, user: UserId, value: Any) -> None:
        """Set the field in a ghost's profile; None removes it. Raises HomeserverUnavailable or HomeserverRefused."""
        is_stable = self._support is FieldSupport.STABLE
        try:
            await self._homeserver.set_profile_field(user, self._name, value, is_stable=is_stable)
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            if value is not None or error.status != 404:
                raise

    async def _request_support(self) -> FieldSupport:
        try:
            capabilities = await self._homeserver.capabilities(as_user=self._bot)
            features = (await self._homeserver.versions()).get("unstable_features", {})
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            log.debug("no_profile_fields", error=str(error))
            return FieldSupport.NONE
        support = field_support(self._name, capabilities, features if isinstance(features, dict) else {})
        if support is FieldSupport.NONE:
            log.debug("no_profile_fields")
        return support


class StatusTextWriter:
    """Writes the status text of ghosts' profiles."""

    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, identities: Identities) -> None:
        self._ghosts = ghosts
        self._field = ProfileField(homeserver, identities, STATUS_FIELD)
        self._refused: dict[UserId, str | None] = {}
        """The status texts that the homeserver refused, so that the same request is not repeated."""

    def forget_support(self) -> None:
        """Request the homeserver's capabilities again before the next write: it may have another version now."""
        self._field.forget_support()
        self._refused.clear()

    def is_current(self, user: UserId, text: str | None) -> bool:
        """Return whether no request is needed for the profile of ``user`` to show ``text``."""
        return (
            self._field.is_unsupported
            or self._ghosts.status_text(user) == text
            or (user in self._refused and self._refused[user] == text)
        )

    async def write(self, user: UserId, text: str | None) -> None:
        """Write ``text`` into a ghost's profile; None removes the field.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
            DatabaseError: the database is unavailable.
        """
        if not await self._field.is_supported() or self.is_current(user, text):
            return
        try:
            await self._field.set(user, None if text is None else {"text": text})
        except (HomeserverUnavailable, HomeserverRateLimited):
            raise
        except HomeserverRefused as error:
            self._refused[user] = text
            log.warning(
                "status_text_refused",
                user=user,
                error=str(error),
                help="clients show the status text with presence only",
            )
        else:
            self._refused.pop(user, None)
            await self._ghosts.set_status_text(user, text)


class RoleFieldWriter:
    """Writes the role field of agents' profiles."""

    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, identities: Identities) -> None:
        self._ghosts = ghosts
        self._identities = identities
        self._field = ProfileField(homeserver, identities, ROLE_FIELD)
        self._is_refusal_logged = False

    def forget_support(self) -> None:
        """Request the homeserver's capabilities again before the next write: it may have another version now."""
        self._field.forget_support()

    async def write(self, agent: Agent) -> None:
        """Write the role of an agent into its profile.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
            HomeserverRefused: the ghost is not registered.
        """
        await self._write(self._identities.agent(agent.slug), role_json(agent))

    async def write_service_user(self, user: UserId, title: str) -> None:
        """Write the role of the bot or the observer, whose kind is ``bot``. Raises as ``write``."""
        await self._write(user, orjson.dumps({"kind": "bot", "title": title}).decode())

    async def clear(self, user: UserId) -> None:
        """Remove the role field from a ghost's profile. Raises as ``write``."""
        await self._write(user, None)

    async def _write(self, user: UserId, role: str | None) -> None:
        if self._ghosts.role_field(user) == role or not await self._field.is_supported():
            return
        try:
            await self._field.set(user, None if role is None else orjson.loads(role))
        except (HomeserverUnavailable, HomeserverRateLimited):
            raise
        except HomeserverRefused as error:
            if is_unregistered(error):
                raise
            if not self._is_refusal_logged:
                self._is_refusal_logged = True
                log.warning("role_field_refused", user=user, error=str(error), help="clients do not show the role")
        else:
            await self._ghosts.set_role_field(user, role)


def role_json(agent: Agent) -> str | None:
    """Return the role field as JSON, deterministically, or None if it would be empty."""
    fields = {
        "kind": agent.kind,
        "title": agent.title,
        "node": agent.node_id,
        "node_role": node_role(agent),
        "microdao": agent.microdao,
        "microdao_role": microdao_role(agent),
        "color": agent.color,
    }
    present = {name: value for name, value in fields.items() if value}
    return orjson.dumps(present).decode() if present else None


def field_support(name: str, capabilities: dict[str, Any], features: dict[str, Any]) -> FieldSupport:
    """Return how a homeserver supports a profile field.

    Args:
        name: the field.
        capabilities: ``capabilities`` of ``GET /_matrix/client/v3/capabilities``.
        features: ``unstable_features`` of ``GET /_matrix/client/versions``.
    """
    if _CAPABILITY in capabilities:
        return FieldSupport.STABLE if _is_allowed(name, capabilities[_CAPABILITY]) else FieldSupport.NONE
    unstable = capabilities.get(_UNSTABLE_CAPABILITY, {"enabled": True})
    if not features.get(_UNSTABLE_FEATURE) or not _is_allowed(name, unstable):
        return FieldSupport.NONE
    return FieldSupport.STABLE if features.get(_STABLE_FEATURE) else FieldSupport.UNSTABLE


def _is_allowed(name: str, capability: Any) -> bool:
    match capability:
        case {"enabled": True, "allowed": list(allowed)}:
            return name in allowed
        case {"enabled": True, "disallowed": list(disallowed)}:
            return name not in disallowed
        case {"enabled": True}:
            return True
    return False
