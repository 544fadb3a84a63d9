"""Handlers of votes in polls and ends of polls, inside the transaction that marks the event as done."""

from __future__ import annotations

from dataclasses import dataclass

from ...city.event_fields import (
    POLL_ENDS,
    RESPONSE_ID,
    Event,
    content_of,
    event_id_of,
    inner,
    optional_text,
    sender_of,
    time_ms,
    type_of,
)
from ...city.events import CityEvent
from ...city.identity import Identities
from ...city.poll_responses import PollResponse, PollResponseKind
from ...city.polls import Polls
from ...city.types import EventId, Room
from ...storage.database import Transaction
from ..client.polls import read_selections
from .authors import read_author


@dataclass(frozen=True, slots=True)
class PollEvents:
    """The handlers, which return the city events to publish after the commit, and a query for the backfill."""

    identities: Identities
    polls: Polls

    async def response(self, tx: Transaction, room: Room, event: Event, *, is_history: bool = False) -> list[CityEvent]:
        """Handle a vote or an end (``RESPONSES``); ``is_history`` as in ``Polls.receive``."""
        content, event_id = content_of(event), event_id_of(event)
        if response_id := self._own_response(event):
            await tx.rooms.lock_any(room.id)
            await tx.poll_responses.set_event(response_id, event_id)
            return []
        relation = inner(content, "m.relates_to")
        original = optional_text(relation, "event_id")
        author = await read_author(tx, self.identities, room, event)
        if relation.get("rel_type") != "m.reference" or not original or author is None:
            return []
        if room.archived and not is_history:
            return []
        await tx.rooms.lock_any(room.id)
        message = await tx.messages.by_event_id(EventId(original))
        if message is None or message.room_id != room.id:
            return []
        is_end = type_of(event) in POLL_ENDS
        response = PollResponse(
            "",
            message.id,
            author,
            PollResponseKind.END if is_end else PollResponseKind.VOTE,
            () if is_end else read_selections(content),
            time_ms(event),
            event_id,
        )
        return [*await self.polls.receive(tx, room, message, response, is_history=is_history)]

    async def has(self, tx: Transaction, event: Event) -> bool:
        """Return whether the city has this vote or end, or sent it itself and does not know its event id yet."""
        response_id = self._own_response(event)
        own = await tx.poll_responses.get(response_id) if response_id else None
        return own is not None or await tx.poll_responses.by_event_id(event_id_of(event)) is not None

    def _own_response(self, event: Event) -> str | None:
        return optional_text(content_of(event), RESPONSE_ID) if self.identities.is_ours(sender_of(event)) else None
