"""Dispatches Matrix events by type to their handlers, which run inside the transaction that marks the event as done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial

from ...city.event_fields import (
    ENCRYPTED,
    MESSAGES,
    RESPONSES,
    Event,
    content_of,
    event_id_of,
    has_sender_and_id,
    is_message,
    is_message_or_change,
    room_of,
    sender_of,
    text,
    type_of,
)
from ...city.events import BotChatChanged, ChatReadersChanged, CityEvent, KeysChanged
from ...city.types import HistoryVisibility, MatrixRoomId, MessageId, Room, UserId
from ...storage.database import Transaction
from ..client.message_content import replaced
from ..client.room_rules import is_encryption, join_rule, visibility_in
from ..encryption.room_decryptor import RoomDecryptor
from .authors import is_of_erased
from .bot_chats import BotChatHandlers
from .direct_chats import DirectChatHandlers
from .members import MemberEvents
from .messages import MessageEvents, redacted_by
from .room_state import RoomStateEvents
from .texts_ahead import TextsAhead

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
        decryptor: RoomDecryptor,
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
            "m.room.pinned_events": state.pinned_events,
            "m.room.avatar": state.avatar,
            "m.room.history_visibility": state.history_visibility,
            "m.room.encryption": state.encryption,
            ENCRYPTED: state.unreadable,
            "m.room.tombstone": state.tombstone,
            "m.room.canonical_alias": state.canonical_alias,
        }
        self._chat_handlers: dict[str, Handler] = {
            "m.room.member": self._chat_member,
            "m.room.history_visibility": self._chat_visibility,
            "m.room.join_rules": self._chat_join_rule,
            "m.room.power_levels": self._chat_power_levels,
            "m.room.encryption": self._chat_encryption,
            ENCRYPTED: self._encrypted,
            "m.room.redaction": self._chat_redaction,
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
        self._decryptor = decryptor

    @property
    def types(self) -> Collection[str]:
        """The event types that have a handler."""
        return self._handlers.keys()

    async def receive_keys(self, events: Iterable[Event]) -> None:
        """Receive the keys that the encrypted events of a batch need, before its transaction."""
        await self._decryptor.prepare(events)

    @property
    def texts(self) -> TextsAhead:
        """The texts of events that are parsed before the transaction."""
        return self._messages.texts

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
        if handler is None or not has_sender_and_id(event):
            return []
        if handler == self._messages.message:
            room, lookup = await tx.rooms.of_message(matrix_room, UserId(sender_of(event)), event_id_of(event))
            handler = partial(self._messages.message, before=before, lookup=lookup)
        else:
            room = await tx.rooms.by_matrix_id(matrix_room)
        if room is None and (former := await tx.rooms.by_former_id(matrix_room)):
            # Of a room that was upgraded only messages, reactions and redactions still count: its state is obsolete.
            is_wanted = is_message_or_change(event) and not await self._messages.refuse_erased(tx, former, event)
            return await handler(tx, former, event) if is_wanted else []
        if room is None:
            return await self._handle_unknown_room(tx, event)
        return await self._handle_in_room(tx, room, event, handler, before)

    async def _handle_in_room(
        self, tx: Transaction, room: Room, event: Event, handler: Handler, before: MessageId | None
    ) -> list[CityEvent]:
        if await self._messages.refuse_erased(tx, room, event):
            return []
        if room.agent is not None and await self._direct_chats.release_to_other_agent(tx, room, event):
            return await self._direct_chats.invited(tx, event)
        if room.agent is not None:
            return await self._handle_in_chat(tx, room, event, handler, before)
        return await handler(tx, room, event)

    async def _handle_in_chat(
        self, tx: Transaction, chat: Room, event: Event, handler: Handler, before: MessageId | None
    ) -> list[CityEvent]:
        chat_handler = self._chat_handlers.get(type_of(event), handler if is_message_or_change(event) else None)
        if chat_handler == self._encrypted:
            chat_handler = partial(self._encrypted, before=before)
        elif chat.encrypted and replaced(content_of(event)) and not self._decryptor.is_own(event):
            # The homeserver could forge it: the edits of an encrypted message are encrypted.
            return []
        elif chat.encrypted and type_of(event) == "m.reaction" and await self._decryptor.defer(tx, chat, event):
            return [KeysChanged()]
        # An agent may have been invited to a chat of the bot.
        bot_events = await self._bot_chats.handle(tx, event)
        verification = self._direct_chats.verification(chat, event)
        return [*bot_events, *verification, *(await chat_handler(tx, chat, event) if chat_handler else [])]

    async def _handle_unknown_room(self, tx: Transaction, event: Event) -> list[CityEvent]:
        is_join_or_leave = type_of(event) == "m.room.member" and content_of(event).get("membership") != "invite"
        if not is_join_or_leave and is_of_erased(self._bot_chats.identities, event):
            return []
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

    async def handle_decrypted(
        self, tx: Transaction, chat: Room, event: Event, *, before: MessageId | None = None
    ) -> list[CityEvent]:
        """Handle an event of an encrypted chat as its sender wrote it; ignore what is no message or change of one.

        Args:
            tx: the transaction that marks the event as done.
            event: the decrypted event.
            before: the message to insert it before; None for the end of the chat.

        Returns:
            The city events to publish after the commit.
        """
        if not is_message_or_change(event) or type_of(event) == "m.room.redaction":
            return []
        handler = self._handlers.get(type_of(event), self._messages.message)
        if handler == self._messages.message:
            handler = partial(self._messages.message, before=before)
        return [*await handler(tx, chat, event), *self._direct_chats.verification(chat, event)]

    async def handle_unreadable(self, tx: Transaction, matrix_room: MatrixRoomId) -> list[CityEvent]:
        """Have the agent of a chat whose encrypted events wait say once that it cannot read them.

        Args:
            tx: the transaction that stores the request.
            matrix_room: the room of the events; nothing happens if it is no direct chat any more.

        Returns:
            The city events to publish after the commit.
        """
        chat = await tx.rooms.by_matrix_id(matrix_room)
        return [] if chat is None or chat.agent is None else await self._direct_chats.unreadable(tx, chat)

    async def _encrypted(
        self, tx: Transaction, chat: Room, event: Event, *, before: MessageId | None = None
    ) -> list[CityEvent]:
        if not self._decryptor.is_active:
            return await self._direct_chats.unreadable(tx, chat)
        if chat.archived or self._decryptor.is_own(event):
            return []
        # A chat of an earlier version of the service: what the agents send waits until its state was read again.
        requested = [] if chat.encrypted else await self._direct_chats.request_reconciliation(tx, chat)
        decrypted = await self._decryptor.decrypt(tx, chat, event, before=before)
        if decrypted is None:
            return [*requested, KeysChanged()]
        return [*requested, *await self.handle_decrypted(tx, chat, decrypted, before=before)]

    async def _chat_redaction(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        await self._decryptor.on_redaction(tx, room_of(event), redacted_by(event))
        return await self._messages.redaction(tx, chat, event)

    async def _chat_encryption(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        self._decryptor.on_rules(room_of(event))
        if not is_encryption(content_of(event)):
            return []
        await tx.rooms.set_encrypted(chat.id)
        notice = [] if self._decryptor.is_active else await self._direct_chats.unreadable(tx, chat)
        return [*notice, ChatReadersChanged(chat.id)]

    async def _chat_power_levels(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        # `m.room.power_levels` does not contain the room's creators: the reconciler reads both.
        return await self._direct_chats.request_reconciliation(tx, chat) if event.get("state_key") == "" else []

    async def _chat_visibility(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        self._decryptor.on_rules(room_of(event))
        now = visibility_in(content_of(event))
        is_open = now is HistoryVisibility.WORLD_READABLE
        was_open = chat.history_visibility is HistoryVisibility.WORLD_READABLE
        is_changed = event.get("state_key") == "" and is_open != was_open
        changed = await self._direct_chats.openness(tx, chat, is_open=is_open) if is_changed else []
        return [*changed, *await self._room_state.history_visibility(tx, chat, event)]

    async def _chat_join_rule(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        if event.get("state_key") != "":
            return []
        return await self._direct_chats.openness(tx, chat, is_open=join_rule(content_of(event)) == "public")

    async def _chat_member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        await self._decryptor.on_member(tx, room_of(event), UserId(text(event, "state_key")))
        return [
            *await self._direct_chats.member(tx, room, event),
            *await self._direct_chats.decline_invitation(tx, event),
        ]
