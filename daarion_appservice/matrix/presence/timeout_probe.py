"""How long this homeserver leaves somebody online who says nothing, found out by trying.

Synapse's default is 30 s; its admin may set `presence.sync_online_timeout` to more, and fewer refreshes will do then. A user of
ours whom nobody sees (in no room, and no agent or citizen has such an id) is made online with one device and left alone. Synapse
looks at its clock only when something happens to a user, so a second device says every few seconds that it is offline:

    device A  online ──────────────── (nothing) ───────────────► timed out: the user is offline
    device B     offline  offline  offline  offline  offline       (each makes Synapse look after A)

What is found is coarse (Synapse's own timers fire every 5 s), so a good deal is taken off. It is found anew at each start of ours
and after each absence of the homeserver, because that is when its configuration changes. A homeserver that lets us make no
devices is one whose timeout cannot be changed either (devices came with Synapse 1.141, the setting with 1.156).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ...city.identity import CITIZEN_PREFIX, Identities
from ...city.types import UserId
from ...errors import HomeserverError, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor

UNKNOWN_MS: Final = 22_000
"""The period of refreshes for a homeserver of which nothing is known: well below Synapse's default."""
_LONGEST_MS: Final = 50_000
"""More would cost more: after 60 s (`last_active_granularity`) Synapse tells everybody that a ghost was active again."""
_SHARE: Final = 0.7
_COARSE_MS: Final = 15_000
"""By how much too long a timeout may look: 5 s between Synapse's looks at its clock, as much for its timers, and one of our
own looks, with some delay."""
_LOOK_S: Final = 2.5
_LOOKS_AT_FIRST: Final = 5
_LONG_ENOUGH_S: Final = 90.0
_SHORT_MS: Final = 25_000
"""Seen online for no longer than this, a user was forgotten earlier than Synapse does by default."""
_TRIES: Final = 3
_PAUSE_S: Final = 30.0
"""Before each try: a Synapse that was started just now lets nobody time out for so long."""

_ONLINE_DEVICE: Final = "ONLINE"
_OFFLINE_DEVICE: Final = "OFFLINE"

log = structlog.get_logger()


def period_ms(held_ms: int) -> int:
    """How often to refresh on a homeserver that was seen to hold a presence for ``held_ms``."""
    return min(_LONGEST_MS, max(UNKNOWN_MS, int((held_ms - _COARSE_MS) * _SHARE)))


class PresenceTimeoutProbe:
    def __init__(
        self, homeserver: Homeserver, monitor: HomeserverMonitor, database: Database, identities: Identities
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        # No citizen's ghost: where an id is written "=hh", "=pa" is no code of anything.
        self._user = UserId(f"@{CITIZEN_PREFIX}=patience:{identities.domain}")
        self._returned = asyncio.Event()
        monitor.on_return(self._returned.set)

    async def run(self, on_period_ms: Callable[[int], None]) -> None:
        """Say what the period is as soon as that is known, and whenever it is known better; until cancelled."""
        await self._monitor.wait_up()
        on_period_ms(await self._remembered_ms())
        while True:
            self._returned.clear()
            held_ms = await self._measure_patiently()
            if held_ms is not None:
                on_period_ms(period_ms(held_ms))
                await self._remember(held_ms)
            await self._returned.wait()
            on_period_ms(UNKNOWN_MS)

    async def _measure_patiently(self) -> int | None:
        for _ in range(_TRIES):
            await asyncio.sleep(_PAUSE_S)
            await self._monitor.wait_up()
            absences = self._monitor.absences
            try:
                held_ms = await self._measure()
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
            except HomeserverError as error:
                log.debug("presence_timeout_unknown", error=str(error))
                return None
            else:
                if self._monitor.absences == absences:
                    return held_ms
        return None

    async def _measure(self) -> int | None:
        """For how long somebody who says nothing was seen online; None when that says nothing about ghosts."""
        await self._homeserver.register(self._user)
        for device in (_ONLINE_DEVICE, _OFFLINE_DEVICE):
            await self._homeserver.make_device(self._user, device)
        await self._homeserver.set_presence(self._user, "online", None, device=_ONLINE_DEVICE)
        began_s = asyncio.get_running_loop().time()
        if not await self._becomes_online():
            log.warning(
                "presence_switched_off",
                help="Synapse tells nobody who is online: set `presence: {enabled: true}` in homeserver.yaml",
            )
            return None
        held_s = await self._held_s(began_s)
        if held_s * 1000 < _SHORT_MS:
            log.warning(
                "presence_forgotten_soon",
                held_s=round(held_s),
                help="Synapse's presence.sync_online_timeout is below 30 s, so ghosts may flap: raise it, or set "
                "presence.refresh_s here to well below it",
            )
        return int(held_s * 1000)

    async def _held_s(self, began_s: float) -> float:
        loop = asyncio.get_running_loop()
        held_s = 0.0
        while held_s < _LONG_ENOUGH_S:
            await asyncio.sleep(_LOOK_S)
            await self._homeserver.set_presence(self._user, "offline", None, device=_OFFLINE_DEVICE)
            asked_s = loop.time()
            if not await self._is_online():
                return held_s
            held_s = asked_s - began_s
        await self._homeserver.set_presence(self._user, "offline", None, device=_ONLINE_DEVICE)
        return held_s

    async def _becomes_online(self) -> bool:
        """Where another process of Synapse answers than was told, it may hear of it a moment later."""
        for _ in range(_LOOKS_AT_FIRST):
            if await self._is_online():
                return True
            await asyncio.sleep(1.0)
        return False

    async def _is_online(self) -> bool:
        answer = await self._homeserver.presence(self._user, as_user=self._user)
        return answer.get("presence") == "online"

    async def _remembered_ms(self) -> int:
        """Of a homeserver of this make; it is measured again right away, should its configuration be another."""
        try:
            async with self._database.reading() as tx:
                held_ms = await tx.key_values.presence_held_ms(self._homeserver.software)
        except (SQLAlchemyError, OSError) as error:
            log.debug("presence_timeout_unknown", error=str(error))
            held_ms = None
        return UNKNOWN_MS if held_ms is None else period_ms(held_ms)

    async def _remember(self, held_ms: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await tx.key_values.put_presence_held_ms(self._homeserver.software, held_ms)
        except (SQLAlchemyError, OSError) as error:
            log.debug("presence_timeout_not_kept", error=str(error))
