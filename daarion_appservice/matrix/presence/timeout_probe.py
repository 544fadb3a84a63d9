"""The presence timeout probe: measures after how long the homeserver sets an idle user offline.

Synapse's default is 30 s; its admin may set `presence.sync_online_timeout` to a higher value, which needs fewer
refreshes. The probe sets a user of the service online with one device and leaves it idle. No other user sees that user:
it is in no room, and its id belongs to no agent or citizen. Synapse evaluates the timeout only when it processes an
update of the user, so that a second device sends offline every few seconds:

    device A  online ──────────────── (nothing) ───────────────► timed out: the user is offline
    device B     offline  offline  offline  offline  offline       (each makes Synapse check A)

The result is coarse (Synapse's own timers fire every 5 s), so that the period has a large margin below it. The probe
measures at each start of the service and after each absence of the homeserver, because the configuration of Synapse
changes with a restart. A Synapse that lets the service create no devices has no such setting either (devices: Synapse
1.141, the setting: 1.156).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ...city.identity import CITIZEN_PREFIX, Identities
from ...city.types import UserId
from ...errors import DatabaseError, HomeserverError, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor

UNKNOWN_MS: Final = 22_000
"""The refresh period for a homeserver with an unknown timeout: well below Synapse's default."""
_MAX_PERIOD_MS: Final = 50_000
"""The maximum refresh period. A longer one costs more: after 60 s (`last_active_granularity`) Synapse sends all
observers the new activity of a ghost."""
_PERIOD_FACTOR: Final = 0.7
_MAX_ERROR_MS: Final = 15_000
"""The maximum error of a measured timeout: 5 s between two of Synapse's evaluations, 5 s for its timers, and the
interval of the probe's requests, with some delay."""
_INTERVAL_S: Final = 2.5
_FIRST_READS: Final = 5
_MAX_MEASURED_S: Final = 90.0
_DEFAULT_TIMEOUT_MS: Final = 25_000
"""A measured timeout up to this value is shorter than Synapse's default."""
_ATTEMPTS: Final = 3
_ATTEMPT_DELAY_S: Final = 30.0
"""The delay before each attempt: for this time after its start, Synapse times out no user."""

_ONLINE_DEVICE: Final = "ONLINE"
_OFFLINE_DEVICE: Final = "OFFLINE"

PRESENCE_OFF_ADVICE: Final = "Set `presence: {enabled: true}` in homeserver.yaml, and restart Synapse."
SHORT_TIMEOUT_ADVICE: Final = (
    "Synapse's presence.sync_online_timeout is below 30 s, so ghosts may flap: raise it, or set presence.refresh_s here to well "
    "below it."
)

log = structlog.get_logger()


def period_ms(timeout_ms: int) -> int:
    """Return the refresh period (ms) for a homeserver whose measured presence timeout is ``timeout_ms``."""
    return min(_MAX_PERIOD_MS, max(UNKNOWN_MS, int((timeout_ms - _MAX_ERROR_MS) * _PERIOD_FACTOR)))


def is_shorter_than_default(timeout_ms: int) -> bool:
    """Return whether a measured presence timeout is shorter than Synapse's default."""
    return timeout_ms < _DEFAULT_TIMEOUT_MS


def probe_user(domain: str) -> UserId:
    """Return the user that the probe registers.

    It is not a citizen's ghost: ids are escaped as "=hh" with hexadecimal digits, and "=pa" is none.
    """
    return UserId(f"@{CITIZEN_PREFIX}=patience:{domain}")


class PresenceTimeoutProbe:
    """Measures the presence timeout of the homeserver, and stores it for the next start."""

    def __init__(
        self, homeserver: Homeserver, monitor: HomeserverMonitor, database: Database, identities: Identities
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._user = probe_user(identities.domain)
        self._returned = asyncio.Event()
        monitor.on_return(self._returned.set)

    async def run(self, on_period_ms: Callable[[int], None]) -> None:
        """Call ``on_period_ms`` with the refresh period, first from the stored timeout and then after each measurement.

        Runs until cancelled.
        """
        await self._monitor.wait_up()
        on_period_ms(await self._stored_period_ms())
        while True:
            self._returned.clear()
            timeout_ms = await self._measure_with_retries()
            if timeout_ms is not None:
                on_period_ms(period_ms(timeout_ms))
                await self._store(timeout_ms)
            await self._returned.wait()
            on_period_ms(UNKNOWN_MS)

    async def _measure_with_retries(self) -> int | None:
        for _ in range(_ATTEMPTS):
            await asyncio.sleep(_ATTEMPT_DELAY_S)
            await self._monitor.wait_up()
            absences = self._monitor.absences
            try:
                timeout_ms = await self._measure()
            except HomeserverUnavailable as error:
                self._monitor.report_unavailable(error)
            except HomeserverError as error:
                log.debug("presence_timeout_unknown", error=str(error))
                return None
            else:
                if self._monitor.absences == absences:
                    return timeout_ms
        return None

    async def _measure(self) -> int | None:
        """Return how long (ms) an idle user stayed online; None if the homeserver has presence switched off."""
        await self._homeserver.register(self._user)
        for device in (_ONLINE_DEVICE, _OFFLINE_DEVICE):
            await self._homeserver.make_device(self._user, device)
        await self._homeserver.set_presence(self._user, "online", None, device=_ONLINE_DEVICE)
        began_s = asyncio.get_running_loop().time()
        if not await self._becomes_online():
            log.warning(
                "presence_switched_off",
                help=PRESENCE_OFF_ADVICE,
            )
            return None
        timeout_s = await self._online_duration_s(began_s)
        if is_shorter_than_default(int(timeout_s * 1000)):
            log.warning(
                "presence_forgotten_soon",
                held_s=round(timeout_s),
                help=SHORT_TIMEOUT_ADVICE,
            )
        return int(timeout_s * 1000)

    async def _online_duration_s(self, began_s: float) -> float:
        loop = asyncio.get_running_loop()
        online_s = 0.0
        while online_s < _MAX_MEASURED_S:
            await asyncio.sleep(_INTERVAL_S)
            await self._homeserver.set_presence(self._user, "offline", None, device=_OFFLINE_DEVICE)
            read_s = loop.time()
            if not await self._is_online():
                return online_s
            online_s = read_s - began_s
        await self._homeserver.set_presence(self._user, "offline", None, device=_ONLINE_DEVICE)
        return online_s

    async def _becomes_online(self) -> bool:
        """Return whether the user becomes online; a read from another Synapse worker may lag behind the write."""
        for _ in range(_FIRST_READS):
            if await self._is_online():
                return True
            await asyncio.sleep(1.0)
        return False

    async def _is_online(self) -> bool:
        presence = await self._homeserver.presence(self._user, as_user=self._user)
        return presence.get("presence") == "online"

    async def _stored_period_ms(self) -> int:
        """Return the period for the stored timeout of this server software and version, until it is measured again."""
        try:
            async with self._database.read_only() as tx:
                timeout_ms = await tx.key_values.presence_timeout_ms(self._homeserver.software)
        except DatabaseError as error:
            log.debug("presence_timeout_unknown", error=str(error))
            timeout_ms = None
        return UNKNOWN_MS if timeout_ms is None else period_ms(timeout_ms)

    async def _store(self, timeout_ms: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await tx.key_values.put_presence_timeout_ms(self._homeserver.software, timeout_ms)
        except DatabaseError as error:
            log.debug("presence_timeout_not_stored", error=str(error))
