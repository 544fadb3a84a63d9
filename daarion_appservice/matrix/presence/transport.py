"""Transports of presence updates: one request per ghost with the client-server API, or batches with a Synapse module.

The batches need the city's module in Synapse (`synapse_module/`). It refreshes all presences itself while it receives
requests at intervals, and returns a lease id with each response: a new id means that it has dropped all presences.
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
"""The maximum batch size. Synapse processes nothing else during a batch, which takes about 70 ms."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """A presence update of a ghost; ``presence`` is a value of Matrix (``online``, ``unavailable``, ``offline``)."""

    user: UserId
    presence: str
    status_msg: str | None


@dataclass(frozen=True, slots=True)
class PresenceUpdateResult:
    """The homeserver's response to a batch of presence updates."""

    refused: dict[UserId, HomeserverRefused] = field(default_factory=dict)
    """The ghosts whose update the homeserver refused, with the error."""
    has_forgotten: bool = False
    """Whether the homeserver has dropped all presences that were sent before this batch."""


class PresenceTransport(Protocol):
    """A way to send presence updates to the homeserver."""

    @property
    def at_once(self) -> int:
        """The maximum number of updates in one request."""

    @property
    def in_flight(self) -> int | None:
        """The maximum number of concurrent requests; None if the transport has no limit."""

    @property
    def renew_s(self) -> float | None:
        """The interval of requests (s) that keeps all presences alive; None if each ghost has to be refreshed."""

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send one request with a batch of updates. Raises HomeserverError if the homeserver accepted none of them."""


class PresenceTransportChooser:
    """Chooses the transport that the homeserver supports."""

    def __init__(self, homeserver: Homeserver, *, may_use_module: bool) -> None:
        self._homeserver = homeserver
        self._may_use_module = may_use_module

    async def choose(self) -> PresenceTransport:
        """Return the module's transport if the homeserver has the module and it may be used, or the client API's."""
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
    """Sends one ``PUT /presence/{userId}/status`` per ghost, which every homeserver supports."""

    at_once = 1
    in_flight = None
    renew_s = None

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send one update."""
        (told,) = presences
        try:
            await self._homeserver.set_presence(told.user, told.presence, told.status_msg)
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            return PresenceUpdateResult({told.user: error})
        return PresenceUpdateResult()


class ModuleTransport:
    """Sends batches of updates to the city's Synapse module."""

    in_flight = 1
    """One, because two concurrent requests could arrive in the wrong order."""

    def __init__(self, homeserver: Homeserver, *, at_once: int, renew_s: float) -> None:
        self._homeserver = homeserver
        self.at_once = at_once
        self.renew_s = renew_s
        self._lease: Any = None

    async def send(self, presences: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send a batch of updates; an empty batch renews the lease."""
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
