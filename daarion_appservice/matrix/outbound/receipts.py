"""The receipt sender: sends read receipts of citizens and agents to the homeserver, as their ghosts.

Receipts are best effort, like typing: one that cannot be sent at once, or that arises in a process that is not the
leader, is dropped. The sender makes one request at a time, and sends only the newest receipt of each ghost and room.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from ...city.events import LocalUserRead
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.types import MessageId, RoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..ghosts.ghosts import Ghosts

_MOST_WAITING: Final = 1_000
_MOST_REMEMBERED: Final = 10_000
"""The number of pairs of room and ghost whose last receipt is remembered. For an evicted pair an older receipt may be
sent again, which a homeserver ignores."""

log = structlog.get_logger()

_Key = tuple[RoomId, UserId]


class ReceiptSender:
    """Sends read receipts; calls ``on_spoke`` for each ghost, because homeservers show it online after a receipt."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        identities: Identities,
        ghosts: Ghosts,
        online_members: OnlineMembers,
        *,
        on_spoke: Callable[[UserId], None],
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._identities = identities
        self._ghosts = ghosts
        self._online_members = online_members
        self._on_spoke = on_spoke
        self._wishes: dict[_Key, tuple[int, MessageId]] = {}
        """The receipts to send, with the sequence number of the message in the room's history; the newest wins."""
        self._told: OrderedDict[_Key, int] = OrderedDict()
        self._wake = asyncio.Event()
        self._is_running = False

    def follow(self, event: LocalUserRead) -> None:
        """Queue the receipt of a citizen or agent, unless it is outdated or cannot be sent now."""
        key = event.room_id, self._identities.author(event.author)
        if (
            not self._is_running
            or not self._monitor.is_up
            or event.seq <= self._reached(key)
            or (key not in self._wishes and len(self._wishes) >= _MOST_WAITING)
            or not self._ghosts.is_known(key[1])
            or not self._online_members.is_member(event.room_id, event.author.subject)
        ):
            return
        self._wishes[key] = event.seq, event.message_id
        self._wake.set()

    async def run(self) -> None:
        """Send receipts until cancelled."""
        self._wishes.clear()
        self._told.clear()
        self._is_running = True
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._wishes:
                    key = next(iter(self._wishes))
                    # The receipt stays in the queue until it is sent, so that only a newer one replaces it.
                    seq, message = self._wishes[key]
                    await self._tell(key, seq, message)
                    newer = self._wishes.pop(key)
                    if newer != (seq, message):
                        self._wishes[key] = newer  # Reinsert it behind the others.
        finally:
            self._is_running = False

    def _reached(self, key: _Key) -> float:
        if key in self._wishes:
            return self._wishes[key][0]
        return self._told.get(key, float("-inf"))

    async def _tell(self, key: _Key, seq: int, message_id: MessageId) -> None:
        room_id, user = key
        try:
            async with self._database.reading() as tx:
                room, message = await tx.rooms.find(room_id), await tx.messages.get(message_id)
            if room is None or room.matrix_room_id is None or message is None or message.matrix_event_id is None:
                return
            await self._homeserver.send_receipt(room.matrix_room_id, message.matrix_event_id, as_user=user)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
        except (HomeserverRefused, DatabaseError) as error:
            log.debug("receipt_not_sent", user=user, error=str(error))
        else:
            self._remember(key, seq)
            self._on_spoke(user)

    def _remember(self, key: _Key, seq: int) -> None:
        self._told[key] = seq
        self._told.move_to_end(key)
        if len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)
