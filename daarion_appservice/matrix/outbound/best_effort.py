"""Best-effort sending of ghosts' typing and read receipts: the newest value for each room and ghost, one at a time.

A value that cannot be sent at once, or that arises in a process that is not the leader, is dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, NamedTuple, TypeVar

import structlog

from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.types import MessageId, RoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..ghosts.ghosts import Ghosts


class GhostTimeline(NamedTuple):
    """A timeline of a room that a ghost types in or reads."""

    room: RoomId
    ghost: UserId
    thread: MessageId | None = None
    """The root of a thread; None for the main timeline."""


_Value = TypeVar("_Value")

log = structlog.get_logger()


class BestEffortSender(ABC, Generic[_Value]):
    """Sends the newest value for each room and ghost, or for each thread of a room.

    Calls ``on_activity`` for each ghost that a request may have shown online.
    """

    max_pending: ClassVar[int]
    """The maximum number of waiting values; further ones are dropped."""
    failure_event: ClassVar[str]
    """The log event of a value that was not sent."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        identities: Identities,
        ghosts: Ghosts,
        online_members: OnlineMembers,
        *,
        on_activity: Callable[[UserId], None],
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._identities = identities
        self._ghosts = ghosts
        self._online_members = online_members
        self._on_activity = on_activity
        self._pending: dict[GhostTimeline, _Value] = {}
        """The values to send; the newest wins."""
        self._worker = Worker(type(self).__name__, idle_s=None)
        self._is_running = False
        self._reset()

    async def run(self) -> None:
        """Send values until cancelled."""
        self._pending.clear()
        self._reset()
        self._is_running = True
        try:
            await self._worker.run(self._send_pending)
        finally:
            self._is_running = False

    async def _send_pending(self) -> None:
        while self._pending:
            key = next(iter(self._pending))
            # The value stays in the queue until it is sent, so that only a newer one replaces it.
            value = self._pending[key]
            await self._try_send(key, value)
            newer = self._pending.pop(key)
            if newer != value:
                self._pending[key] = newer  # Reinsert it behind the others.

    def _accepts(self, key: GhostTimeline) -> bool:
        """Return whether a value can be sent now: the ghost is registered, and the queue has a place for it."""
        has_place = key in self._pending or len(self._pending) < self.max_pending
        return self._is_running and self._monitor.is_up and self._ghosts.is_known(key.ghost) and has_place

    def _put(self, key: GhostTimeline, value: _Value) -> None:
        self._pending[key] = value
        self._worker.wake()

    async def _try_send(self, key: GhostTimeline, value: _Value) -> None:
        try:
            await self._send(key, value)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
        except (HomeserverRefused, DatabaseError) as error:
            log.debug(self.failure_event, user=key.ghost, error=str(error))

    @abstractmethod
    def _reset(self) -> None:
        """Drop the state of an earlier run."""

    @abstractmethod
    async def _send(self, key: GhostTimeline, value: _Value) -> None:
        """Send a value, unless the room is not on Matrix."""
