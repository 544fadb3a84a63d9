"""The erasure worker: carries out erasures of data subjects, as a task of the leader.

    requested ─► city's data ─► 10 s ─► city's data again ─► closed ─► homeserver's data ─► done
                 (`city_data`)                                          (`homeserver_data`)

The pause is for requests that were accepted before all processes knew of the erasure, and for messages that were being sent.
Until the second pass ends, the service refuses the tokens of the data subject and ignores its events; afterwards a person may
come back as a new one. The homeserver may be unavailable for any time: the second part waits for it, the first does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ..city.data_subjects import DataSubject
from ..city.events import AccountsChanged, CityEvent
from ..city.ports import NowMs, PresenceStore
from ..city.presence import PresenceState, RemotePresence
from ..city.types import user_subject
from ..errors import HomeserverRefused, HomeserverUnavailable
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.ghosts.ghosts import Ghosts
from ..matrix.presence.user_presence import MATRIX_SESSION
from ..realtime.isolation import isolated
from ..realtime.worker import Worker
from ..storage.database import Database
from ..storage.personal_data.erasures import ErasureState, StoredErasure
from .city_data import CityDataErasure
from .homeserver_data import HomeserverDataErasure

SETTLING_MS: Final = 10_000
"""Milliseconds after which every process knows of an erasure and has ended the requests of the data subject."""
_POLL_S: Final = 5.0
_RETRY_MS: Final = 30_000

log = structlog.get_logger()


class ErasureWorker:
    """Carries out erasures for as long as this process is the leader."""

    def __init__(
        self,
        database: Database,
        monitor: HomeserverMonitor,
        city_data: CityDataErasure,
        homeserver_data: HomeserverDataErasure,
        ghosts: Ghosts,
        presence: PresenceStore,
        publish: Callable[[CityEvent], None],
        reload: Callable[[], Awaitable[None]],
        now_ms: NowMs,
        *,
        settling_ms: int = SETTLING_MS,
    ) -> None:
        self._database = database
        self._monitor = monitor
        self._city_data = city_data
        self._homeserver_data = homeserver_data
        self._ghosts = ghosts
        self._presence = presence
        self._publish = publish
        self._reload = reload
        self._now_ms = now_ms
        self._settling_ms = settling_ms
        self._worker = Worker("erasures", idle_s=_POLL_S)
        self._passed: set[str] = set()
        """Erasures whose first pass through the city's data this process has made."""

    def wake(self) -> None:
        """Look for erasures now."""
        self._worker.wake()

    async def run(self) -> None:
        """Carry out erasures until cancelled. Can be called again."""
        await self._worker.run(self.step)

    async def step(self) -> float:
        """Advance every unfinished erasure; return the seconds until the next step."""
        async with self._database.read_only() as tx:
            unfinished = await tx.erasures.unfinished()
        for erasure in unfinished:
            if erasure.retry_at_ms <= self._now_ms():
                with isolated("erasures", erasure.id):
                    await self._advance(erasure)
        return min(_POLL_S, self._settling_ms / 1000) if unfinished else _POLL_S

    async def _advance(self, erasure: StoredErasure) -> None:
        if erasure.state is ErasureState.CITY and erasure.data_subject is not None:
            await self._erase_in_city(erasure, erasure.data_subject)
            return
        if not self._monitor.is_up:
            return
        try:
            if erasure.data_subject is None:
                await self._homeserver_data.redact_stored(erasure.id)
            else:
                await self._homeserver_data.run(erasure, erasure.data_subject)
                await self._finish(erasure, erasure.data_subject)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            await self._delay(erasure, error)
        except HomeserverRefused as error:
            await self._delay(erasure, error)

    async def _erase_in_city(self, erasure: StoredErasure, data_subject: DataSubject) -> None:
        is_last = self._now_ms() >= erasure.requested_at_ms + self._settling_ms
        if not is_last and erasure.id in self._passed:
            return
        # The names of ghosts and the acceptance of tokens depend on the erased ids in memory.
        await self._reload()
        await self._city_data.run(erasure)
        self._passed.add(erasure.id)
        if not is_last:
            return
        async with self._database.transaction() as tx:
            await tx.accounts.lock()
            await tx.erasing.unlink(data_subject)
            await tx.erasures.close_city(erasure.id, now_ms=self._now_ms())
        self._passed.discard(erasure.id)
        await self._changed()
        log.info("erasure_city_done", erasure=erasure.id)
        self._worker.wake()

    async def _finish(self, erasure: StoredErasure, data_subject: DataSubject) -> None:
        if data_subject.user is not None:
            offline = RemotePresence(user_subject(data_subject.user), PresenceState(), MATRIX_SESSION)
            await self._presence.set_remote([offline])
        await self._city_data.finish(erasure.id, data_subject)
        for ghost in data_subject.ghosts:
            await self._ghosts.forget(ghost)
        async with self._database.transaction() as tx:
            await tx.erasures.finish(erasure.id, now_ms=self._now_ms())
            stored = await tx.erasures.get(erasure.id)
        await self._changed()
        assert stored is not None
        log.info("erasure_done", erasure=erasure.id, remains=len(stored.remains))

    async def _changed(self) -> None:
        """Load the erased ids and links in this process, and tell the others."""
        await self._reload()
        self._publish(AccountsChanged())

    async def _delay(self, erasure: StoredErasure, error: Exception) -> None:
        async with self._database.transaction() as tx:
            await tx.erasures.update(erasure.id, error=str(error), retry_at_ms=self._now_ms() + _RETRY_MS)
        log.warning("erasure_delayed", erasure=erasure.id, error=str(error), help="trying again in 30 seconds")
