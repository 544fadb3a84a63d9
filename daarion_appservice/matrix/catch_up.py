"""What was said on Matrix and never delivered to us: looked up whenever the homeserver may have lost it.

Synapse notes that it has handed an event over *before* it has, and keeps what waits behind a transaction in memory: one that
ends in between never delivers these events, and the transaction that was under way comes much later or not at all (seen in
1.163: ``set_appservice_last_pos`` in synapse/handlers/appservice.py). Nor does one that was started again deliver anything
before the next event. So after each absence, and at each start of ours, every room's history is read back to the last event
that was handled, and what is missing is put into the inbox in its place:

    history  … handled  missed  missed  delivered        inbox  delivered        ─►   missed  missed  delivered

Nothing may be handled in the meantime, or what was missed could only come after it: ``inbound`` sees to that.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from ..city.ports import NowMs
from ..city.types import MatrixRoomId, Room, UserId
from ..errors import HomeserverRefused
from ..storage.database import Database
from ..storage.inbox import ReceivedEvent
from .homeserver import Homeserver
from .namespace import Namespace
from .receiver import received

_PAGE: Final = 50
_MAX_PAGES: Final = 100
"""How far back to look for the last handled event: 5,000 events of one room while nobody listened."""

log = structlog.get_logger()


class CatchUp:
    def __init__(self, homeserver: Homeserver, database: Database, namespace: Namespace, now_ms: NowMs) -> None:
        self._homeserver = homeserver
        self._database = database
        self._namespace = namespace
        self._now_ms = now_ms

    async def run(self) -> None:
        """Look through every linked room. Raises HomeserverAway."""
        async with self._database.reading() as tx:
            rooms = {room.id: room for room in [*await tx.rooms.all(), *await tx.rooms.direct_chats(waiting=False)]}
            former = await tx.rooms.former_ids()
        # Of one that was replaced, too: what was said there last may not have come in yet.
        linked = [*former, *((room.matrix_room_id, room.id) for room in rooms.values() if room.matrix_room_id)]
        for matrix_room, room_id in linked:
            room = rooms[room_id]
            try:
                await self._room(room, matrix_room)
            except HomeserverRefused as error:
                log.warning(
                    "history_refused",
                    room=room.slug,
                    error=str(error),
                    help="messages that were written there while Synapse restarted may be missing",
                )

    async def _room(self, room: Room, matrix_room: MatrixRoomId) -> None:
        events = await self._since_handled(matrix_room, as_user=self._namespace.keeper(room))
        missed = 0
        # Once more until there is nothing to change: a transaction may come in at the same time.
        while (added := await self._put(matrix_room, events)) is not None:
            missed += added
        if missed:
            log.info("events_caught_up", room=room.slug, count=missed)

    async def _put(self, matrix_room: MatrixRoomId, events: list[ReceivedEvent]) -> int | None:
        async with self._database.transaction() as tx:
            return await tx.inbox.put_in_order(matrix_room, events, now_ms=self._now_ms())

    async def _since_handled(self, matrix_room: MatrixRoomId, *, as_user: UserId) -> list[ReceivedEvent]:
        """What happened after the last event that was handled, oldest first; nothing where none ever was."""
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page, cursor = await self._homeserver.messages_before(matrix_room, cursor, limit=_PAGE, as_user=as_user)
            async with self._database.reading() as tx:
                handled = await tx.inbox.handled([received(event).event_id for event in page])
            for event in page:
                if received(event).event_id in handled:
                    return [received(each) for each in reversed(found)]
                found.append(event)
            if cursor is None:
                # The start of the history: a room that was adopted or opened a moment ago, and has no news.
                return []
        log.warning(
            "history_too_long",
            room=matrix_room,
            count=len(found),
            help="more was written there while nobody listened than is looked up; what came before that is missing",
        )
        return [received(each) for each in reversed(found)]
