"""Which event from Matrix is whose to handle. Each runs inside the transaction that marks its event done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..city.events import CityEvent
from ..city.types import Room
from ..storage.database import Transaction
from .events import Event, is_signed, room_of, type_of
from .member_events import MemberEvents
from .message_events import MessageEvents
from .room_state_events import RoomStateEvents

Handler = Callable[[Transaction, Room, Event], Awaitable[list[CityEvent]]]

SAID: Final = frozenset({"m.room.message", "m.sticker", "m.reaction", "m.room.redaction"})
"""What counts also in a room that was replaced by another."""


class EventHandlers:
    def __init__(self, messages: MessageEvents, members: MemberEvents, state: RoomStateEvents) -> None:
        self._handlers: dict[str, Handler] = {
            "m.room.message": messages.message,
            "m.sticker": messages.message,
            "m.reaction": messages.reaction,
            "m.room.redaction": messages.redaction,
            "m.room.member": self._member,
            "m.room.name": state.name,
            "m.room.topic": state.topic,
            "m.room.power_levels": state.power_levels,
            "m.room.join_rules": state.join_rules,
            "m.room.encryption": state.encryption,
            "m.room.encrypted": state.unreadable,
            "m.room.tombstone": state.tombstone,
            "m.room.canonical_alias": state.canonical_alias,
        }
        self._members = members
        self._state = state

    async def handle(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Take one event into the city; returns what to publish once the transaction is committed.

        Events of other kinds and of rooms that are not the city's are nothing to it.
        """
        handler, matrix_room = self._handlers.get(type_of(event)), room_of(event)
        if handler is None or not is_signed(event):
            return []
        room = await tx.rooms.by_matrix_id(matrix_room)
        if room is None and type_of(event) in SAID:
            room = await tx.rooms.by_former_id(matrix_room)
        return [] if room is None else await handler(tx, room, event)

    async def _member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        return [*await self._members.member(tx, room, event), *await self._state.bot(tx, room, event)]
