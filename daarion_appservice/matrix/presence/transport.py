"""How the homeserver is told of presences: one request each, which every homeserver understands, or many in one.

The second needs our module in Synapse (`synapse_module/`). It keeps everybody as told while it hears from us now and then,
and says with each answer under which lease: another one than before means that everybody else has been let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from mautrix.api import Method, PathBuilder

from ...city.types import UserId
from ...errors import HomeserverError, HomeserverRateLimited, HomeserverRefused
from ..client.homeserver import Homeserver

_MODULE: Final = PathBuilder("_synapse/client/daarion/presence")
_MODULE_NAME: Final = "daarion_presence"
_MOST_AT_ONCE: Final = 500
"""Synapse does nothing else while it takes them, some 70 ms."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """What the homeserver should show of a ghost, in its own words (``online``, ``unavailable``, ``offline``)."""

    user: UserId
    presence: str
    status_msg: str | None


@dataclass(frozen=True, slots=True)
class PresenceUpdateResult:
    refused: dict[UserId, HomeserverRefused] = field(default_factory=dict)
    """Those of whom the homeserver will not hear."""
    has_forgotten: bool = False
    """Whether it has let everybody go of whom it was told before."""


class PresenceTransport(Protocol):
    @property
    def at_once(self) -> int:
        """How many may be told in one request."""

    @property
    def in_flight(self) -> int | None:
        """How many requests may be under way; None: as many as we like."""

    @property
    def renew_s(self) -> float | None:
        """Everybody stays as told while something is told so often; None: only who is told again."""

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """One request. Raises HomeserverError when nobody was told."""


class PresenceTransportChooser:
    def __init__(self, homeserver: Homeserver, *, may_use_module: bool) -> None:
        self._homeserver = homeserver
        self._may_use_module = may_use_module

    async def choose(self) -> PresenceTransport:
        """The best way that this homeserver takes."""
        if not self._may_use_module:
            return ClientApiTransport(self._homeserver)
        try:
            answer = await self._homeserver.request(Method.GET, _MODULE)
        except HomeserverError:
            answer = None
        match answer:
            case {"module": name, "max_users": int(most), "timeout_s": int() | float() as timeout_s} if (
                name == _MODULE_NAME
            ):
                log.info("presence_module_found", version=answer.get("version"))
                return ModuleTransport(self._homeserver, at_once=min(most, _MOST_AT_ONCE), renew_s=timeout_s / 3)
        return ClientApiTransport(self._homeserver)


class ClientApiTransport:
    at_once = 1
    in_flight = None
    renew_s = None

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        (told,) = presences
        try:
            await self._homeserver.set_presence(told.user, told.presence, told.status_msg)
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            return PresenceUpdateResult({told.user: error})
        return PresenceUpdateResult()


class ModuleTransport:
    in_flight = 1
    """Two requests at the same time could arrive in the other order."""

    def __init__(self, homeserver: Homeserver, *, at_once: int, renew_s: float) -> None:
        self._homeserver = homeserver
        self.at_once = at_once
        self.renew_s = renew_s
        self._lease: Any = None

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        users = [{"user_id": told.user, "presence": told.presence, "status_msg": told.status_msg} for told in presences]
        answer = await self._homeserver.request(Method.POST, _MODULE, {"users": users})
        if not isinstance(answer, dict):
            raise HomeserverRefused(200, "M_UNKNOWN", "the presence module answered something else")
        lease, self._lease = self._lease, answer.get("lease")
        return PresenceUpdateResult(
            {UserId(each["user_id"]): _refusal(each) for each in answer.get("refused", [])},
            has_forgotten=lease not in {None, self._lease},
        )


def _refusal(refused: dict[str, Any]) -> HomeserverRefused:
    return HomeserverRefused(400, str(refused.get("errcode", "M_UNKNOWN")), str(refused.get("error", "")))
