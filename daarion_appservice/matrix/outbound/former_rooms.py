"""Changes of messages from before an upgrade of their Matrix room: the events stay in the former room.

Synapse refuses a redaction of an event of another room, and clients ignore edits, reactions and votes there. A change is
therefore sent to the room that has the event. After an upgrade, members without power may send nothing in the former room
(client-server API, "Server behaviour" of room upgrades), so the bot redacts there, and other changes remain in the city.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ...city.event_fields import inner, optional_text
from ...city.identity import Identities
from ...city.types import EventId, MatrixRoomId, Room, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.refusals import is_transient
from .rendering import OutgoingEvent

_CHANGES: Final = frozenset({"m.replace", "m.annotation", "m.reference"})
_THREAD: Final = "m.thread"
_MAX_EVENTS: Final = 5_000
"""The number of events whose room is remembered, 0.3 KiB each."""


@dataclass(frozen=True, slots=True)
class FormerRooms:
    """Finds the former Matrix room of an event, and sends changes there."""

    database: Database
    homeserver: Homeserver
    identities: Identities
    rooms_of_events: dict[EventId, MatrixRoomId] = field(default_factory=dict)
    """The Matrix rooms of events that were requested, the oldest first: an event stays in its room."""

    async def find(self, room: Room, event: OutgoingEvent) -> MatrixRoomId | None:
        """Return the former Matrix room that has the event which ``event`` changes; None for any other event.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the homeserver refuses all requests.
        """
        relation = inner(event.content, "m.relates_to")
        related = optional_text(relation, "event_id") if relation.get("rel_type") in _CHANGES else None
        changed = event.redacts or (EventId(related) if related else None)
        return await self.former_room_of(room, changed) if changed is not None else None

    async def without_lost_thread(self, room: Room, content: dict[str, Any]) -> dict[str, Any]:
        """Return the content of a message without its thread, if the root is in a former room.

        Clients show a message of a thread beside its root only, and the root is not in this room.
        """
        relation = inner(content, "m.relates_to")
        root = optional_text(relation, "event_id") if relation.get("rel_type") == _THREAD else None
        if root is None or await self.former_room_of(room, EventId(root)) is None:
            return content
        return {key: value for key, value in content.items() if key != "m.relates_to"}

    async def redact(
        self, former: MatrixRoomId, event: EventId, txn_id: str, *, users: list[UserId], edits_by: UserId | None
    ) -> EventId:
        """Redact an event of a former room, after the edits of it by ``edits_by``.

        Args:
            former: the former room.
            txn_id: the transaction id.
            users: who tries, in this order.
            edits_by: the user whose edits are redacted as well.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: none of the users may redact.
        """
        edits = []
        if edits_by is not None:
            edits = await self.homeserver.edits(former, event, by=edits_by, as_user=self.identities.bot)
        for edit in edits:
            await self._redact(former, edit, f"{txn_id}{edit}", users)
        return await self._redact(former, event, txn_id, users)

    async def _redact(self, former: MatrixRoomId, event: EventId, txn_id: str, users: list[UserId]) -> EventId:
        *others, last = users
        for user in others:
            try:
                return await self.homeserver.redact(former, event, txn_id, as_user=user, with_device=False)
            except HomeserverRefused as error:
                if is_transient(error):
                    raise
        return await self.homeserver.redact(former, event, txn_id, as_user=last, with_device=False)

    async def former_room_of(self, room: Room, event: EventId) -> MatrixRoomId | None:
        """Return the former Matrix room that has an event; None for one of the present room, or of none.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the homeserver limits the rate of requests, or fails.
        """
        async with self.database.read_only() as tx:
            former = await tx.matrix_rooms.former_of(room.id)
        if not former or room.matrix_room_id is None:
            return None
        if (found := self.rooms_of_events.get(event)) is None:
            found = await self._request_room(event, [room.matrix_room_id, *former])
        return found if found in former else None

    async def _request_room(self, event: EventId, matrix_rooms: list[MatrixRoomId]) -> MatrixRoomId | None:
        for each in matrix_rooms:
            if await self._has(each, event):
                self.rooms_of_events[event] = each
                if len(self.rooms_of_events) > _MAX_EVENTS:
                    del self.rooms_of_events[next(iter(self.rooms_of_events))]
                return each
        return None

    async def _has(self, matrix_room: MatrixRoomId, event: EventId) -> bool:
        try:
            return await self.homeserver.event(matrix_room, event, as_user=self.identities.bot) is not None
        except HomeserverRefused as error:
            if is_transient(error):
                raise
            return False  # The bot is not in the room any more.
