"""Redactions of state events: they take away a topic, a picture or a profile without a new state event.

A redaction names only an event id. What the city has no message, reaction, edit or vote of may be a state event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from ...city.event_fields import Event, sender_of, type_of
from ...city.identity import Identities
from ...city.types import EventId
from ...storage.database import Transaction
from ...storage.inbox import InboxRow
from .current_state import StateKey, state_event_key
from .messages import redacted_by
from .unconfirmed_rows import UnconfirmedRows


def may_redact_state(identities: Identities, event: Event) -> bool:
    """Return whether an event is a redaction by a user outside of the service, which redacts no state."""
    return type_of(event) == "m.room.redaction" and not identities.is_ours(sender_of(event))


async def is_target_unknown(tx: Transaction, redaction: Event) -> bool:
    """Return whether the city stores nothing under the id of the redacted event."""
    redacted = redacted_by(redaction)
    if not redacted or await tx.messages.by_event_id(redacted) or await tx.reactions.by_event_id(redacted):
        return False
    return not (await tx.revisions.by_event_id(redacted) or await tx.poll_responses.by_event_id(redacted))


async def redacted_states(
    unconfirmed: UnconfirmedRows,
    visible: Collection[int],
    find: Callable[[EventId], Awaitable[Event | None]],
    types: Collection[str],
) -> list[tuple[InboxRow, StateKey, Event]]:
    """Return the redactions of state events, with the keys of these.

    Args:
        unconfirmed: the rows of a room.
        visible: the ids of the timeline's rows that the homeserver has confirmed.
        find: requests an event.
        types: the event types that have a handler.
    """
    to_confirm = {row.id for row, _ in unconfirmed.timeline}
    found: list[tuple[InboxRow, StateKey, Event]] = []
    for row, redaction in unconfirmed.redactions:
        if row.id in to_confirm and row.id not in visible:
            continue
        redacted = await find(redacted_by(redaction))
        key = state_event_key(redacted) if redacted is not None else None
        if key is not None and key[0] in types:
            found.append((row, key, redaction))
    return found
