"""Transports of presence updates: one request per ghost with the client-server API, or batches with a Synapse module.

The batches need the city's module in Synapse (`synapse_module/`). It refreshes all presences itself while it receives
requests at intervals, and returns a lease id with each response: a new id means that it has dropped all presences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

import structlog
from mautrix.api import Method, PathBuilder

from ...city.types import UserId
from ...errors import HomeserverError, HomeserverRateLimited, HomeserverRefused
from ..client.homeserver import Homeserver

_MODULE: Final = PathBuilder("_synapse/client/daarion/presence")
_MODULE_NAME: Final = "daarion_presence"
_MAX_BATCH_SIZE: Final = 500
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
    is_lease_lost: bool = False
    """Whether the homeserver has dropped all presences that were sent before this batch."""


class PresenceTransport(Protocol):
    """A way to send presence updates to the homeserver."""

    @property
    def batch_size(self) -> int:
        """The maximum number of updates in one request."""

    @property
    def max_in_flight(self) -> int | None:
        """The maximum number of concurrent requests; None if the transport has no limit."""

    @property
    def renewal_s(self) -> float | None:
        """The interval of requests (s) that keeps all presences alive; None if each ghost has to be refreshed."""

    async def send(self, updates: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send one request with a batch of updates. Raises HomeserverError if the homeserver accepted none of them."""


async def choose_transport(homeserver: Homeserver, *, may_use_module: bool) -> PresenceTransport:
    """Return the module's transport if the homeserver has the module and it may be used, or the client API's."""
    if not may_use_module:
        return ClientApiTransport(homeserver)
    try:
        response = await homeserver.request(Method.GET, _MODULE)
    except HomeserverError:
        response = None
    match response:
        case {"module": name, "max_users": int(max_users), "timeout_s": int() | float() as timeout_s} if (
            name == _MODULE_NAME
        ):
            log.info("presence_module_found", version=response.get("version"))
            return ModuleTransport(homeserver, batch_size=min(max_users, _MAX_BATCH_SIZE), renewal_s=timeout_s / 3)
    return ClientApiTransport(homeserver)


@dataclass(frozen=True, slots=True)
class ClientApiTransport:
    """Sends one ``PUT /presence/{userId}/status`` per ghost, which every homeserver supports."""

    homeserver: Homeserver
    batch_size: ClassVar[int] = 1
    max_in_flight: ClassVar[int | None] = None
    renewal_s: ClassVar[float | None] = None

    async def send(self, updates: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send one update."""
        (update,) = updates
        try:
            await self.homeserver.set_presence(update.user, update.presence, update.status_msg)
        except HomeserverRateLimited:
            raise
        except HomeserverRefused as error:
            return PresenceUpdateResult({update.user: error})
        return PresenceUpdateResult()


class ModuleTransport:
    """Sends batches of updates to the city's Synapse module."""

    max_in_flight = 1
    """One, because two concurrent requests could arrive in the wrong order."""

    def __init__(self, homeserver: Homeserver, *, batch_size: int, renewal_s: float) -> None:
        self._homeserver = homeserver
        self.batch_size = batch_size
        self.renewal_s = renewal_s
        self._lease: Any = None

    async def send(self, updates: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
        """Send a batch of updates; an empty batch renews the lease."""
        users = [
            {"user_id": update.user, "presence": update.presence, "status_msg": update.status_msg} for update in updates
        ]
        response = await self._homeserver.request(Method.POST, _MODULE, {"users": users})
        if not isinstance(response, dict):
            raise HomeserverRefused(200, "M_UNKNOWN", "the presence module answered something else")
        lease, self._lease = self._lease, response.get("lease")
        return PresenceUpdateResult(
            {UserId(each["user_id"]): _refusal(each) for each in response.get("refused", [])},
            is_lease_lost=lease not in {None, self._lease},
        )


def _refusal(refused: dict[str, Any]) -> HomeserverRefused:
    return HomeserverRefused(400, str(refused.get("errcode", "M_UNKNOWN")), str(refused.get("error", "")))
