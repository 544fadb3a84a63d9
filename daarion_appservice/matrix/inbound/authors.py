"""The city's author of a Matrix event."""

from __future__ import annotations

from ...city.event_fields import Event, sender_of, time_ms
from ...city.identity import Identities, ServiceUser
from ...city.types import Author, AuthorKind, Room, UserId
from ...storage.database import Transaction


async def read_author(
    tx: Transaction, identities: Identities, room: Room, event: Event, *, with_service_users: bool = False
) -> Author | None:
    """Return the author of an event.

    Args:
        tx: the caller's transaction.
        identities: the names of the city's users.
        room: the room of the event.
        event: the event.
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
    member = await tx.members.get(room.id, user)
    return Author(kind, author_id, (member and member.display_name) or author_id, member.avatar_url if member else None)
