"""The city's author of a Matrix event."""

from __future__ import annotations

from ...city.event_fields import Event, event_id_of, room_of, sender_of, time_ms, type_of
from ...city.identity import Identities, ServiceUser
from ...city.received_messages import EventLookup
from ...city.types import Author, AuthorKind, MatrixRoomId, Room, UserId
from ...storage.database import Transaction
from ...storage.personal_data.erasures import PendingRedaction


async def read_author(
    tx: Transaction,
    identities: Identities,
    room: Room,
    event: Event,
    *,
    with_service_users: bool = False,
    lookup: EventLookup | None = None,
) -> Author | None:
    """Return the author of an event.

    Args:
        tx: the caller's transaction.
        identities: the names of the city's users.
        room: the room of the event.
        lookup: what is stored about the event; None to read the sender's membership.
        with_service_users: also return service users, which write no messages, and erased persons.

    Returns:
        The author; None for a service user, and for a person who was erased after the event.
    """
    user = UserId(sender_of(event))
    if not with_service_users and identities.erased.covers(user, time_ms(event)):
        return None
    identity = identities.describe(user)
    if isinstance(identity, ServiceUser):
        return Author(AuthorKind.MATRIX, user, user) if with_service_users else None
    kind, author_id = identity
    if room.agent is not None:
        return Author(kind, author_id, await tx.direct_chats.display_name(room.id, user) or author_id)
    member = lookup.sender if lookup is not None else await tx.members.get(room.id, user)
    return Author(kind, author_id, (member and member.display_name) or author_id, member.avatar_url if member else None)


def is_of_erased(identities: Identities, event: Event) -> bool:
    """Return whether an event is by a person who was erased after it."""
    return identities.erased.covers(sender_of(event), time_ms(event))


async def refuse_erased(tx: Transaction, identities: Identities, room: Room, event: Event) -> bool:
    """Return whether an event is by a person who was erased after it, and store it for redaction then.

    State events and redactions are not refused: they change what others see.
    """
    sender = UserId(sender_of(event))
    erased = identities.erased.get(sender)
    if erased is None or not erased.covers(time_ms(event)):
        return False
    if type_of(event) == "m.room.redaction" or "state_key" in event:
        return False
    if room.agent is None:
        redaction = PendingRedaction(event_id_of(event), MatrixRoomId(room_of(event)), sender)
        await tx.erasures.add_redactions(erased.erasure, [redaction])
    return True
