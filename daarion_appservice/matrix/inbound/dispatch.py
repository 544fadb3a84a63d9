"""Dispatches Matrix events by type to their handlers, which run inside the transaction that marks the event as done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial

from ...city.event_fields import (
    MESSAGES,
    RESPONSES,
    Event,
    has_sender_and_id,
    is_message,
    is_message_or_change,
    room_of,
    type_of,
)
from ...city.events import BotChatChanged, CityEvent
from ...city.types import MessageId, Room
from ...storage.database import Transaction
from .bot_chats import BotChatHandlers
from .direct_chats import DirectChatHandlers
from .members import MemberEvents
from .messages import MessageEvents
from .room_state import RoomStateEvents

Handler = Callable[[Transaction, Room, Event], Awaitable[list[CityEvent]]]


class EventHandlers:
    """The handlers by event type: for city rooms, for direct chats, and for state that was handled before."""

    def __init__(
        self,
        messages: MessageEvents,
        members: MemberEvents,
        state: RoomStateEvents,
        direct_chats: DirectChatHandlers,
        bot_chats: BotChatHandlers,
    ) -> None:
        self._handlers: dict[str, Handler] = {
            **dict.fromkeys(MESSAGES, messages.message),
            "m.reaction": messages.reaction,
            **dict.fromkeys(RESPONSES, messages.poll_response),
            "m.room.redaction": messages.redaction,
            "m.room.member": self._member,
            "m.room.name": state.name,
            "m.room.topic": state.topic,
            "m.room.power_levels": state.power_levels,
            "m.room.join_rules": state.join_rules,
            "m.room.history_visibility": state.history_visibility,
            "m.room.encryption": state.encryption,
            "m.room.encrypted": state.unreadable,
            "m.room.tombstone": state.tombstone,
            "m.room.canonical_alias": state.canonical_alias,
        }
        self._chat_handlers: dict[str, Handler] = {
            "m.room.member": self._chat_member,
            "m.room.history_visibility": state.history_visibility,
            "m.room.encryption": direct_chats.encryption,
            "m.room.encrypted": direct_chats.encryption,
        }
        self._restored_state_handlers: dict[str, Handler] = {
            "m.room.name": state.name_restored,
            "m.room.topic": state.topic_restored,
            "m.room.member": members.member_restored,
        }
        self._messages = messages
        self._members = members
        self._room_state = state
        self._direct_chats = direct_chats
        self._bot_chats = bot_chats

    @property
    def types(self) -> Collection[str]:
        """The event types that have a handler."""
        return self._handlers.keys()

    async def parse_ahead(self, tx: Transaction, events: Iterable[Event]) -> list[Callable[[], object]]:
        """Return calls for `city.parsing_threads` that parse the texts of these events."""
        return await self._messages.parse_ahead(tx, events)

    async def handle_restored_state(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Handle a state event that was handled before and is now the room's current state.

        Returns:
            The city events to publish after the commit.
        """
        room = await tx.rooms.by_matrix_id(room_of(event))
        handler = self._restored_state_handlers.get(type_of(event))
        if room is None or room.agent is not None or handler is None or not has_sender_and_id(event):
            return await self.handle(tx, event)
        return await handler(tx, room, event)

    async def handle(self, tx: Transaction, event: Event, *, before: MessageId | None = None) -> list[CityEvent]:
        """Handle one event; ignore types without a handler and rooms that do not belong to the city.

        Args:
            tx: the transaction that marks the event as done.
            event: the event as the homeserver sent it, with its ``room_id``.
            before: for a message that a backfill found late, the message to insert it before.

        Returns:
            The city events to publish after the commit.
        """
        handler, matrix_room = self._handlers.get(type_of(event)), room_of(event)
        if handler is None and is_message(event):
            handler = self._messages.message
        if handler == self._messages.message:
            handler = partial(self._messages.message, before=before)
        if handler is None or not has_sender_and_id(event):
            return []
        room = await tx.rooms.by_matrix_id(matrix_room)
        if room is None and (former := await tx.rooms.by_former_id(matrix_room)):
            # Of a room that was upgraded only messages, reactions and redactions still count: its state is obsolete.
            return await handler(tx, former, event) if is_message_or_change(event) else []
        if room is None:
            return await self._handle_unknown_room(tx, event)
        if room.agent is not None and await self._direct_chats.release_to_other_agent(tx, room, event):
            return await self._direct_chats.invited(tx, event)
        if room.agent is not None:
            chat_handler = handler if is_message_or_change(event) else self._chat_handlers.get(type_of(event))
            # An agent may have been invited to a chat of the bot.
            bot_events = await self._bot_chats.handle(tx, event)
            return [*bot_events, *(await chat_handler(tx, room, event) if chat_handler else [])]
        return await handler(tx, room, event)

    async def _handle_unknown_room(self, tx: Transaction, event: Event) -> list[CityEvent]:
        bot_events = await self._bot_chats.handle(tx, event)
        if type_of(event) != "m.room.member":
            return bot_events
        if await self._bot_chats.accept_invitation(tx, event):
            return [*bot_events, BotChatChanged()]
        return [*bot_events, *await self._direct_chats.invited(tx, event)]

    async def _member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        return [
            *await self._members.member(tx, room, event),
            *await self._room_state.bot(tx, room, event),
            *await self._direct_chats.decline_invitation(tx, event, agents_only=True),
        ]

    async def _chat_member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        return [
            *await self._direct_chats.member(tx, room, event),
            *await self._direct_chats.decline_invitation(tx, event),
        ]
