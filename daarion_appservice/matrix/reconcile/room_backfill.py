"""Backfill of a Matrix room's whole history: messages, and their edits, reactions and redactions.

    backwards   messages older than all that the city has are stored at once; newer missing ones go to the inbox
    forwards    edits and reactions of messages from the backfill are stored at once; the other missing ones, and
                redactions, go to the inbox, so that clients are notified

Each page is one transaction, and events that the city has are skipped, so an interrupted backfill can be repeated. The
second pass begins after the end of the first one and continues to the end of the room, so that it also finds edits,
reactions and redactions that were sent during the first one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from ...city.background_parsing import parsed_ahead
from ...city.event_fields import (
    RESPONSES,
    Event,
    content_of,
    event_id_of,
    has_sender_and_id,
    inner,
    is_message,
    is_message_or_change,
    text,
    type_of,
)
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.types import HistoryVisibility, MatrixRoomId, Room
from ...errors import Conflict
from ...storage.database import Database, Transaction
from ...storage.inbox import InboxState, ReceivedEvent
from ..backfill.late_events import LateEventWriter
from ..backfill.metrics import Missed
from ..backfill.room_history import HistoryRange
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.message_content import replaced
from ..client.room_rules import visibility_in
from ..inbound.messages import MessageEvents

_PAGE: Final = 100
_REDACTION: Final = "m.room.redaction"
_FIRST_SEQ: Final = 1
"""The sequence number of a room's first event; messages from a backfill have lower ones."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The number of events of a room's history that were missing."""

    messages: int
    relations: int
    """Edits, reactions, votes and redactions."""


class Backfill:
    """Reads a room's history as the bot, for ``room backfill``."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        events: MessageEvents,
        late_events: LateEventWriter,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._events = events
        self._late_events = late_events
        self._now_ms = now_ms

    async def run(self, room: Room) -> Backfilled:
        """Store the missing messages, edits, reactions and redactions of a room.

        Events older than the oldest message that the city has are stored when this returns. Newer ones are in the
        inbox, and get their place when the service handles them.

        Returns:
            The number of missing events.

        Raises:
            Conflict: the room has no Matrix room yet.
            HomeserverUnavailable, HomeserverRefused: a request failed; pages that were stored by then remain.
        """
        if room.matrix_room_id is None:
            raise Conflict("not_linked", f"the room {room.slug} has no Matrix room yet")
        messages = await self._store_messages(room, room.matrix_room_id)
        return Backfilled(messages, await self._store_relations(room, room.matrix_room_id))

    # --- messages, newest first -------------------------------------------------------------------------

    async def _store_messages(self, room: Room, matrix_room: MatrixRoomId) -> int:
        async with self._database.read_only() as tx:
            oldest = await tx.messages.oldest_from_matrix(room.id)
        visibility_cursor = _VisibilityCursor(await self._visibility(matrix_room))
        cursor: str | None = None
        count = 0
        is_older = oldest is None
        newer: list[Event] = []
        while True:
            events, cursor = await self._homeserver.messages_before(
                matrix_room, cursor, limit=_PAGE, as_user=self._identities.bot
            )
            async with self._database.read_only() as tx:
                texts = await self._events.texts.of_all(tx, events)
            async with parsed_ahead(texts), self._database.transaction() as tx:
                for event in events:
                    visibility_cursor.move_before(event)
                    if not is_older:
                        newer.append(event)
                        is_older = event.get("event_id") == oldest
                    elif is_message(event):
                        city_events = await self._events.handle(
                            tx, room, event, is_history=True, visibility=visibility_cursor.visibility
                        )
                        count += city_events != []
            if cursor is None or not events:
                return count + await self._store_missing(room, matrix_room, newer[::-1])

    async def _store_missing(self, room: Room, matrix_room: MatrixRoomId, events: list[Event]) -> int:
        """Put missing events into the inbox, without state events: the reconciler reads the current state."""
        async with self._database.transaction() as tx:
            stored = await tx.messages.places(room.id, [event_id_of(event) for event in events])
            missing = [event | {"room_id": matrix_room} for event in _missing_events(events, stored.keys())]
            result = await self._late_events.store(tx, HistoryRange(matrix_room, missing, len(missing)))
        self._late_events.publish(Missed.BACKFILL, {matrix_room: result.missing})
        return result.missing

    async def _visibility(self, matrix_room: MatrixRoomId) -> HistoryVisibility:
        content = await self._homeserver.state(matrix_room, "m.room.history_visibility", as_user=self._identities.bot)
        return visibility_in(content or {})

    # --- edits, reactions and redactions, oldest first --------------------------------------------------

    async def _store_relations(self, room: Room, matrix_room: MatrixRoomId) -> int:
        visibility = visibility_in({})
        cursor: str | None = None
        count = 0
        while True:
            page, cursor = await self._homeserver.messages_after(
                matrix_room, cursor, limit=_PAGE, as_user=self._identities.bot
            )
            relations: list[tuple[Event, HistoryVisibility]] = []
            for event in page:
                if _is_visibility(event):
                    visibility = visibility_in(content_of(event))
                if has_sender_and_id(event) and _is_relation(event):
                    relations.append((event | {"room_id": matrix_room}, visibility))
            if relations:
                count += await self._store_page(room, matrix_room, relations)
            if cursor is None or not page:
                return count

    async def _store_page(
        self, room: Room, matrix_room: MatrixRoomId, relations: list[tuple[Event, HistoryVisibility]]
    ) -> int:
        async with self._database.read_only() as tx:
            texts = await self._events.texts.of_all(tx, [event for event, _ in relations])
        count = 0
        missing: list[ReceivedEvent] = []
        async with parsed_ahead(texts), self._database.transaction() as tx:
            # Lock the inbox before the room, in the same order as the inbound worker.
            await tx.inbox.lock(matrix_room)
            await tx.rooms.lock_any(room.id)
            known = await tx.inbox.find_stored([event_id_of(event) for event, _ in relations])
            for event, visibility in relations:
                received = known.get(event_id_of(event))
                if received is not None and received.state is not InboxState.DONE:
                    continue
                if await self._is_history(tx, room, event):
                    count += await self._events.store_past_relation(tx, room, event, visibility)
                elif await self._has_no_effect_yet(tx, room, event, received=received is not None):
                    missing.append(replace(inbox_event(event), is_confirmed=True))
            if count:
                await tx.rooms.mark_history_changed(room.id)
            if missing:
                await tx.inbox_order.delete_processed([each.event_id for each in missing])
                await tx.inbox.add(missing, now_ms=self._now_ms())
        return count + len(missing)

    async def _is_history(self, tx: Transaction, room: Room, event: Event) -> bool:
        """Return whether an edit or a reaction is about a message from a backfill: no client needs a notification."""
        if type_of(event) == _REDACTION:
            return False
        message = await self._events.related_message(tx, room, event)
        return message is not None and message.seq < _FIRST_SEQ

    async def _has_no_effect_yet(self, tx: Transaction, room: Room, event: Event, *, received: bool) -> bool:
        if type_of(event) == _REDACTION:
            return not await self._events.is_redacted(tx, room, event)
        # An event that was handled while the city had its message had its effect, or can have none.
        return not (
            received
            or room.archived
            or await self._events.has_relation(tx, event)
            or await self._events.related_message(tx, room, event) is None
        )


class _VisibilityCursor:
    """The history visibility at a place in a room's history that is read backwards."""

    def __init__(self, visibility: HistoryVisibility) -> None:
        self.visibility = visibility

    def move_before(self, event: Event) -> None:
        """Move the place to before ``event``, which precedes the events so far."""
        if _is_visibility(event):
            # Before the first such event the room had the default history visibility.
            self.visibility = visibility_in(inner(inner(event, "unsigned"), "prev_content"))


def _missing_events(events: list[Event], stored: Collection[str]) -> list[Event]:
    """Return messages that are not redacted, and the edits, reactions and redactions of missing ones."""
    found: list[Event] = []
    missing: set[str] = set()
    for event in events:
        if not is_message_or_change(event) or (type_of(event) != _REDACTION and not content_of(event)):
            continue
        if not _is_relation(event):
            found.append(event)
            if event_id_of(event) not in stored:
                missing.add(event_id_of(event))
        elif _target(event) in missing:
            found.append(event)
    return found


def _is_relation(event: Event) -> bool:
    content = content_of(event)
    if is_message(event):
        return replaced(content) is not None
    is_response = type_of(event) == "m.reaction" or type_of(event) in RESPONSES
    return type_of(event) == _REDACTION or (is_response and bool(content))


def _target(event: Event) -> str:
    content = content_of(event)
    redacted = text(content, "redacts") or text(event, "redacts")
    return redacted or text(inner(content, "m.relates_to"), "event_id")


def _is_visibility(event: Event) -> bool:
    return type_of(event) == "m.room.history_visibility" and event.get("state_key") == ""
