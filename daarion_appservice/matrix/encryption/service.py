"""The background task of encryption: devices of all agents, used-up keys, resets, and the end of encryption.

start ─► lost devices replaced ─► missing devices set up, four at a time ─► every 5 s: resets, unsent to-device events
                                                                       └─► every hour: one pull of each ghost
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from ...city.ports import NowMs
from ...city.types import MatrixRoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.monitor import HomeserverMonitor
from .chats import EncryptedChats
from .ghost_devices import GhostDevices
from .olm_sender import OlmSender
from .room_readers import RoomReadersCache
from .support import EncryptionSupport, SupportState

_STEP_S: Final = 5.0
_REFUSED_S: Final = 60.0
_SWEEP_MS: Final = 3_600_000
_KEEP_REQUESTS_MS: Final = 25 * _SWEEP_MS
"""An event waits for a day."""
_KEEP_STRANGERS_MS: Final = 7 * 24 * _SWEEP_MS
_MAX_UNKNOWN_ROOMS: Final = 10_000
_CONCURRENCY: Final = 4

log = structlog.get_logger()


class EncryptionService:
    """Keeps the encryption devices of the agents' ghosts, as the leader.

    Args:
        agent_ghosts: returns the registered ghosts of agents.
    """

    def __init__(
        self,
        database: Database,
        monitor: HomeserverMonitor,
        support: EncryptionSupport,
        devices: GhostDevices,
        rooms: RoomReadersCache,
        sender: OlmSender,
        chats: EncryptedChats,
        now_ms: NowMs,
        agent_ghosts: Callable[[], list[UserId]],
    ) -> None:
        self._database = database
        self._support = support
        self._devices = devices
        self._rooms = rooms
        self._sender = sender
        self._chats = chats
        self._now_ms = now_ms
        self._agent_ghosts = agent_ghosts
        self._worker = Worker("encryption", idle_s=_STEP_S, monitor=monitor)
        self._is_checked = False
        self._swept_at_ms = 0
        self._unknown_rooms: set[MatrixRoomId] = set()
        """The rooms of keys that the city did not have at the last sweep."""
        monitor.on_return(self._on_return)

    def begin_run(self) -> None:
        """Drop what an earlier leader may have changed; called before any task of the leader starts."""
        self._sender.begin_run()
        self._devices.forget_all()
        self._rooms.forget_all()
        self._support.reconsider()
        self._is_checked = False

    def _on_return(self) -> None:
        # Members and devices may have changed unnoticed while the homeserver was unavailable, and so may its version.
        self._rooms.forget_all()
        self._support.reconsider()
        self._is_checked = False
        self._worker.wake()

    async def run(self) -> None:
        """Keep devices until cancelled. Can be called again."""
        await self._worker.run(self._step_or_pause)

    async def _step_or_pause(self) -> float | None:
        """Do one step; after a refusal of the homeserver that concerns no single ghost, pause for longer."""
        try:
            await self._step()
        except HomeserverRefused as error:
            log.warning("encryption_check_failed", error=str(error), help=f"trying again in {_REFUSED_S:.0f} s")
            return _REFUSED_S
        return None

    async def _step(self) -> None:
        if self._support.state is SupportState.OFF:
            await self._for_each(await self._devices.stored_ghosts(), self._devices.delete)
            return
        if not self._is_checked:
            await self._check()
        if not self._support.is_active:
            return
        await self._for_each(await self._reset_ghosts(), self._devices.renew)
        async with self._database.read_only() as tx:
            unsent = await tx.to_device_outbox.ghosts_waiting()
        await self._for_each(unsent, self._chats.pull_ghost)
        if self._now_ms() - self._swept_at_ms >= _SWEEP_MS:
            await self._for_each(self._agent_ghosts(), self._chats.pull_ghost)
            await self._prune()
            self._swept_at_ms = self._now_ms()

    async def _prune(self) -> None:
        """Delete requests for keys of events that were given up, the times of old answers, and data of users outside the chats.

        The keys of a room may come before the invitation to it, so they stay until the next time.
        """
        async with self._database.transaction() as tx:
            await tx.key_requests.prune(self._now_ms() - _KEEP_REQUESTS_MS)
            await tx.olm_sessions.prune(self._now_ms() - _KEEP_STRANGERS_MS)
            unknown = await tx.megolm_sessions.rooms_without_chat(_MAX_UNKNOWN_ROOMS)
            await tx.megolm_sessions.delete_inbound_of_rooms(unknown & self._unknown_rooms)
        self._unknown_rooms = unknown

    async def _check(self) -> None:
        """Replace lost devices, and set up those that are missing."""
        # Changes of device lists may be lost with a device of a ghost, or with an older copy of a database.
        async with self._database.transaction() as tx:
            await tx.encryption_devices.mark_all_stale()
        lost = await self._devices.find_lost()
        await self._for_each(lost, self._devices.renew)
        await self._for_each(self._agent_ghosts(), self._devices.ensure)
        self._is_checked = True
        self._swept_at_ms = self._now_ms()
        log.info(
            "encryption_checked", state=str(self._support.state), ghosts=len(self._agent_ghosts()), replaced=len(lost)
        )

    async def _reset_ghosts(self) -> list[UserId]:
        async with self._database.read_only() as tx:
            return await tx.encryption_accounts.ghosts(is_uploaded=True, is_reset_requested=True)

    async def _for_each(self, ghosts: Iterable[UserId], work: Callable[[UserId], Awaitable[None]]) -> None:
        """Do the work for each ghost, a few at a time; a refusal concerns one ghost, an outage ends the work for all."""
        slots = asyncio.Semaphore(_CONCURRENCY)
        outages: list[HomeserverUnavailable | DatabaseError] = []

        async def isolated(ghost: UserId) -> None:
            async with slots:
                try:
                    if not outages:
                        await work(ghost)
                except HomeserverRefused as error:
                    log.warning("encryption_device_failed", ghost=ghost, error=str(error), help="trying again later")
                except (HomeserverUnavailable, DatabaseError) as error:
                    outages.append(error)

        async with asyncio.TaskGroup() as tasks:
            for ghost in ghosts:
                tasks.create_task(isolated(ghost))
        if outages:
            # Not an ExceptionGroup: the worker waits after HomeserverUnavailable and DatabaseError.
            raise outages[0]
