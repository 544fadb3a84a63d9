"""Which event from Matrix is whose to handle. Each runs inside the transaction that marks its event done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..city.events import CityEvent
from ..city.types import Room
from ..storage.database import Transaction
from .events import Event, is_signed, room_of, type_of
from .member_events import MemberEvents
from .message_events import MessageEvents
from .room_state_events import RoomStateEvents

Handler = Callable[[Transaction, Room, Event], Awaitable[list[CityEvent]]]


class EventHandlers:
    def __init__(self, messages: MessageEvents, members: MemberEvents, state: RoomStateEvents) -> None:
        self._handlers: dict[str, Handler] = {
            "m.room.message": messages.message,
            "m.sticker": messages.message,
            "m.reaction": messages.reaction,
            "m.room.redaction": messages.redaction,
            "m.room.member": members.member,
            "m.room.name": state.name,
            "m.room.topic": state.topic,
        }

    async def handle(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Take one event into the city; returns what to publish once the transaction is committed.

        Events of other kinds and of rooms that are not the city's are nothing to it.
        """
        handler = self._handlers.get(type_of(event))
        if handler is None or not is_signed(event):
            return []
        room = await tx.rooms.by_matrix_id(room_of(event))
        return [] if room is None else await handler(tx, room, event)
