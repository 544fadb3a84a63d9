"""Handlers of messages, edits, redactions and reactions, inside the transaction that marks the event as done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ...city.event_fields import (
    EDIT_ID,
    MESSAGE_ID,
    REACTION_ID,
    RESPONSES,
    Event,
    content_of,
    event_id_of,
    inner,
    optional_text,
    sender_of,
    text,
    time_ms,
    type_of,
)
from ...city.events import CityEvent
from ...city.identity import Identities
from ...city.message_edits import MessageEdits
from ...city.message_lookup import find_message_of_event
from ...city.messages import Messages
from ...city.power_levels import may_notify_room
from ...city.reactions import Reactions
from ...city.received_messages import EventLookup
from ...city.types import (
    Author,
    Content,
    EventId,
    HistoryVisibility,
    Message,
    MessageId,
    ReactionId,
    Room,
)
from ...clock import now_ms
from ...realtime.message_steps import REQUESTED_MESSAGES
from ...storage.database import Transaction
from ..client.message_content import (
    msgtype_of_file,
    read_message_content,
    replaced,
    replied_to,
    shortcode_of,
    thread_root_of,
    with_location,
)
from .authors import read_author, refuse_erased
from .locked_messages import echoed_message, locked_message, may_have_type
from .polls import PollEvents
from .texts_ahead import TextsAhead, bundled_edit

_MAX_ID_CHARS: Final = 255
_DAY_MS: Final = 24 * 3_600_000


class MessageEvents:
    """The handlers, which return the city events to publish after the commit, and queries for the backfill."""

    def __init__(
        self,
        identities: Identities,
        messages: Messages,
        message_edits: MessageEdits,
        reactions: Reactions,
        polls: PollEvents,
        *,
        retention_days: int = 0,
    ) -> None:
        """``retention_days`` is the age up to which messages are stored; 0 for any age."""
        self._identities = identities
        self.texts = TextsAhead(identities)
        self._messages = messages
        self._message_edits = message_edits
        self._reactions = reactions
        self._polls = polls
        self._retention_ms = retention_days * _DAY_MS

    async def message(
        self,
        tx: Transaction,
        room: Room,
        event: Event,
        *,
        before: MessageId | None = None,
        lookup: EventLookup | None = None,
    ) -> list[CityEvent]:
        """Handle a message or an edit (``is_message``): see ``handle``."""
        content, is_sent_by_service = content_of(event), self._identities.is_ours(sender_of(event))
        original = replaced(content)
        if original is not None:
            if is_sent_by_service and MESSAGE_ID in content:
                return await self._mark_edit_sent(tx, room, event)
            return await self._edit(tx, room, event, original)
        if is_sent_by_service and (message := await echoed_message(tx, room, content)):
            return await self._mark_sent(tx, message, event_id_of(event))
        if room.archived:
            # An archived room is read-only, from the city and from Matrix.
            return []
        return await self.handle(tx, room, event, before=before, lookup=lookup)

    async def handle(
        self,
        tx: Transaction,
        room: Room,
        event: Event,
        *,
        is_history: bool = False,
        visibility: HistoryVisibility | None = None,
        before: MessageId | None = None,
        lookup: EventLookup | None = None,
    ) -> list[CityEvent]:
        """Store a message of a Matrix user; ignore it if it has no displayable content or is already stored.

        Args:
            tx: the transaction that marks the event as done.
            room: the city room of the event.
            event: the event; an edit is ignored.
            is_history: the event is part of a backfill of the room's history.
            visibility: the room's history visibility at the event, if it differs from the current one.
            before: the message to insert this one before; None for the end of the room.
            lookup: what is stored about the event; None to read it.

        Returns:
            The city events to publish after the commit.
        """
        content = content_of(event)
        if self._retention_ms and time_ms(event) < now_ms() - self._retention_ms:
            return []  # It would be deleted within the hour.
        if lookup is not None and lookup.is_stored:
            return []
        author = await self._author(tx, room, event, lookup=lookup)
        # An edit repeats the whole message: as a new message it would appear twice.
        is_new = author is not None and not replaced(content)
        parsed = self._content(room, event, content) if is_new else None
        if author is None or parsed is None:
            return []
        received = await self._messages.receive(
            tx,
            room,
            author,
            parsed,
            event_id=event_id_of(event),
            created_at_ms=time_ms(event),
            reply_to=replied_to(content),
            thread_root=thread_root_of(content),
            is_history=is_history,
            visibility=visibility,
            before=before,
            is_new=lookup is not None,
        )
        if not received.events:
            return []
        early = await tx.revisions.take_early(event_id_of(event)) if received.has_early_edits else []
        return [*received.events, *await self._apply_pending_edits(tx, room, event, early, visibility)]

    async def _apply_pending_edits(
        self, tx: Transaction, room: Room, event: Event, early: Iterable[Event], visibility: HistoryVisibility | None
    ) -> list[CityEvent]:
        """Apply the edits that arrived before their message (``early``) or are bundled with it."""
        event_id = event_id_of(event)
        # An event of history bundles its last edit, whose history visibility is unknown: the narrower one applies.
        history = visibility and max(visibility, room.history_visibility, key=list(HistoryVisibility).index)
        bundled = bundled_edit(event) if history else {}
        city_events: list[CityEvent] = []
        for edit in (*early, bundled):
            if event_id_of(edit):
                city_events += await self._edit(tx, room, edit, event_id, history=history)
        return city_events

    async def refuse_erased(self, tx: Transaction, room: Room, event: Event) -> bool:
        """Return whether an event is by a person who was erased after it, and have it redacted then."""
        return await refuse_erased(tx, self._identities, room, event)

    async def poll_response(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle a vote in a poll or the end of a poll (``RESPONSES``)."""
        return await self._polls.response(tx, room, event)

    async def reaction(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.reaction``."""
        content, event_id = content_of(event), event_id_of(event)
        reaction_id = optional_text(content, REACTION_ID)
        if reaction_id and self._identities.is_ours(sender_of(event)):
            # Lock the room first, as the removal of a reaction does: another order would deadlock.
            await tx.rooms.lock_any(room.id)
            await tx.reactions.set_event(ReactionId(reaction_id), event_id)
            return []
        return [] if room.archived else await self._reaction(tx, room, event)

    async def _reaction(
        self, tx: Transaction, room: Room, event: Event, *, reacted_at_ms: int | None = None
    ) -> list[CityEvent]:
        content = content_of(event)
        relation = inner(content, "m.relates_to")
        key, original = optional_text(relation, "key"), optional_text(relation, "event_id")
        author = await self._author(tx, room, event)
        if relation.get("rel_type") != "m.annotation" or not key or len(key) > 255 or not original or author is None:
            return []
        await tx.rooms.lock_any(room.id)
        message = await find_message_of_event(tx, EventId(original))
        if message is None or message.room_id != room.id:
            return []
        city_events = await self._reactions.receive(
            tx,
            message,
            author,
            key,
            event_id=event_id_of(event),
            shortcode=shortcode_of(content),
            given_at_ms=reacted_at_ms,
        )
        return [city_events] if city_events else []

    async def store_past_relation(
        self, tx: Transaction, room: Room, event: Event, visibility: HistoryVisibility
    ) -> bool:
        """Store an edit, a reaction or a vote of a room's earlier history; return whether it was new.

        No city event is published for it. An edit of a message that the city does not have is dropped.

        Args:
            visibility: the room's history visibility at the event.
        """
        if await self.has_relation(tx, event) or await self.related_message(tx, room, event) is None:
            return False
        if type_of(event) in RESPONSES:
            await self._polls.response(tx, room, event, is_history=True)
        elif type_of(event) == "m.reaction":
            await self._reaction(tx, room, event, reacted_at_ms=time_ms(event))
        elif original := replaced(content_of(event)):
            await self._edit(tx, room, event, original, history=visibility)
        return await self.has_relation(tx, event)

    async def has_relation(self, tx: Transaction, event: Event) -> bool:
        """Return whether the city has this edit, reaction or vote, or sent it itself and does not know its event id yet."""
        if type_of(event) in RESPONSES:
            return await self._polls.has(tx, event)
        content, event_id, is_sent_by_service = (
            content_of(event),
            event_id_of(event),
            self._identities.is_ours(sender_of(event)),
        )
        if type_of(event) == "m.reaction":
            reaction_id = optional_text(content, REACTION_ID) if is_sent_by_service else None
            own = await tx.reactions.get(ReactionId(reaction_id)) if reaction_id else None
            return own is not None or await tx.reactions.by_event_id(event_id) is not None
        # The city deletes the oldest of many edits of its own, but not the message.
        message_id = optional_text(content, MESSAGE_ID) if is_sent_by_service else None
        sent_by_city = await tx.messages.get(MessageId(message_id)) if message_id else None
        return sent_by_city is not None or await tx.revisions.by_event_id(event_id) is not None

    async def related_message(self, tx: Transaction, room: Room, event: Event) -> Message | None:
        """Return the message of the room that an edit or a reaction is about; None if it is unknown or deleted."""
        original = optional_text(inner(content_of(event), "m.relates_to"), "event_id")
        if not original:
            return None
        message = await tx.messages.by_event_id(EventId(original))
        if message is None and type_of(event) == "m.reaction":
            # A reaction to an edit counts as a reaction to the edited message.
            message = await find_message_of_event(tx, EventId(original))
        return message if message and message.room_id == room.id and not message.deleted else None

    async def is_redacted(self, tx: Transaction, room: Room, event: Event) -> bool:
        """Return whether the city has nothing more of what an ``m.room.redaction`` redacts."""
        redacted = redacted_by(event)
        message = await tx.messages.by_event_id(redacted)
        if message is not None:
            return message.deleted or message.room_id != room.id
        reaction = await tx.reactions.by_event_id(redacted)
        revision = await tx.revisions.by_event_id(redacted)
        response = await tx.poll_responses.by_event_id(redacted)
        return (reaction is None or reaction.removed) and revision is None and response is None

    async def redaction(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.redaction``, in an archived room, too: Synapse sends only those whose sender may redact."""
        redacted = redacted_by(event)
        by = await self._author(tx, room, event, with_service_users=True)
        if not redacted or by is None:
            return []
        if message := await locked_message(tx, room, redacted):
            return [*await self._message_edits.receive_deletion(tx, message, by)]
        city_events: CityEvent | None = None
        if reaction := await tx.reactions.by_event_id(redacted):
            city_events = await self._reactions.receive_removal(tx, room, reaction)
        elif revision := await tx.revisions.by_event_id(redacted):
            message = await tx.messages.get(revision.message_id)
            if message is not None and message.room_id == room.id:
                city_events = await self._message_edits.receive_edit_removal(tx, message, revision, by)
        elif response := await tx.poll_responses.by_event_id(redacted):
            return [*await self._polls.polls.receive_removal(tx, room, response, by)]
        else:
            await tx.revisions.delete_early(redacted)
        return [city_events] if city_events else []

    async def _edit(
        self, tx: Transaction, room: Room, event: Event, original: EventId, *, history: HistoryVisibility | None = None
    ) -> list[CityEvent]:
        content = content_of(event)
        new_content = inner(content, "m.new_content")
        parsed = self._content(room, event, new_content)
        editor = await self._author(tx, room, event)
        if parsed is None or editor is None or (room.archived and history is None):
            return []
        message = await locked_message(tx, room, original)
        if message is None:
            # An edit refers to the original message, never to another edit (client-server API, "Event replacements").
            if not await tx.revisions.by_event_id(original):
                await self._store_early(tx, room, event, original)
            return []
        if not may_have_type(message, type_of(event)):
            return []  # Edits of another event type are not valid, and no Matrix client shows them.
        city_events = await self._message_edits.receive_edit(
            tx, message, parsed, editor, event_id=event_id_of(event), at_ms=time_ms(event), history=history
        )
        if city_events is None or city_events.event.message is None:
            return []
        return [city_events, *await self._message_edits.request_replies(tx, room, message, city_events.event.message)]

    def _content(self, room: Room, event: Event, content: Event) -> Content | None:
        """Return the content of a message or of an edit, without a mention of all members that its sender may not make."""
        parsed = _content_for_room(read_message_content(type_of(event), content, self._identities), room, content)
        if parsed and parsed.details.mentions_room and not may_notify_room(room.power_levels, sender_of(event)):
            return replace(parsed, details=replace(parsed.details, mentions_room=False))
        return parsed

    async def _store_early(self, tx: Transaction, room: Room, event: Event, original: EventId) -> None:
        if len(original) <= _MAX_ID_CHARS:
            # Of too many edits the newest by arrival stay: a claimed `origin_server_ts` must not displace others.
            await tx.revisions.add_early(event_id_of(event), room.id, original, event, now_ms=now_ms())

    async def _mark_edit_sent(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Store the event id of an edit that the city sent itself."""
        if edit_id := optional_text(content_of(event), EDIT_ID):
            await tx.rooms.lock_any(room.id)
            await tx.revisions.set_event(edit_id, event_id_of(event))
        return []

    async def _mark_sent(self, tx: Transaction, message: Message, event_id: EventId) -> list[CityEvent]:
        REQUESTED_MESSAGES.end(message.id)
        if message.matrix_event_id is not None:
            return []
        await tx.outbox.delete_message(message.id)
        return [await self._messages.mark_sent(tx, message, event_id)]

    async def _author(
        self,
        tx: Transaction,
        room: Room,
        event: Event,
        *,
        with_service_users: bool = False,
        lookup: EventLookup | None = None,
    ) -> Author | None:
        return await read_author(
            tx, self._identities, room, event, with_service_users=with_service_users, lookup=lookup
        )


def redacted_by(event: Event) -> EventId:
    """Return the id of the event that an ``m.room.redaction`` redacts; empty if it names none."""
    # Since room version 11 `redacts` is in the content.
    return EventId(text(content_of(event), "redacts") or text(event, "redacts"))


def _content_for_room(parsed: Content | None, room: Room, content: Event) -> Content | None:
    """Make the files of a direct chat private: those of a city room are readable by all readers of the room."""
    if parsed is None or room.agent is None:
        return parsed
    # An encrypted file keeps its msgtype, so that its name is not read as a text message.
    msgtype = msgtype_of_file(content) or parsed.msgtype
    media = replace(parsed.media, is_private=True) if parsed.media else None
    return replace(with_location(parsed, content), msgtype=msgtype, media=media, formatted_body=None)
