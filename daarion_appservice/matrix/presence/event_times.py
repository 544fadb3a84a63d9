"""Times of Matrix events that are not messages of the city: of edits from the database, of others from the homeserver.

The database has no other times that compare with those of messages: it stores when a reaction or vote was received.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ...city.types import EventId, MatrixRoomId, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor

_MAX_CACHED: Final = 1_000
"""Many users have their receipts at the same event."""
_MAX_MS: Final = 1 << 53
"""The highest integer that Matrix allows in JSON."""


class EventTimes:
    """Returns the times of events, and remembers them."""

    def __init__(self, homeserver: Homeserver, monitor: HomeserverMonitor, database: Database) -> None:
        self._homeserver = homeserver
        self.monitor = monitor
        self._database = database
        self._cached: OrderedDict[EventId, int | None] = OrderedDict()

    async def of(self, room: MatrixRoomId, event: EventId, *, as_user: UserId) -> int | None:
        """Return the time of an event in milliseconds since 1970; None if it does not exist or may not be read.

        Args:
            room: the event's room.
            event: the event.
            as_user: the user who makes a request for it; it has joined the room.

        Raises:
            HomeserverUnavailable: the homeserver did not respond.
        """
        if event not in self._cached:
            self._cached[event] = await self._find(room, event, as_user)
        self._cached.move_to_end(event)
        if len(self._cached) > _MAX_CACHED:
            self._cached.popitem(last=False)
        return self._cached[event]

    async def _find(self, room: MatrixRoomId, event: EventId, as_user: UserId) -> int | None:
        async with self._database.read_only() as tx:
            edited_at_ms = await tx.receipts.edited_at(event)
        return await self._request(room, event, as_user) if edited_at_ms is None else edited_at_ms

    async def _request(self, room: MatrixRoomId, event: EventId, as_user: UserId) -> int | None:
        try:
            found = await self._homeserver.event(room, event, as_user=as_user)
        except HomeserverRefused:
            return None
        at_ms = found.get("origin_server_ts") if found is not None else None
        return at_ms if type(at_ms) is int and 0 <= at_ms < _MAX_MS else None
