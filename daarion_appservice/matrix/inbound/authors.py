"""The city's author of a Matrix event."""

from __future__ import annotations

from ...city.identity import Identities, ServiceUser
from ...city.types import Author, AuthorKind, Room, UserId
from ...storage.database import Transaction


async def read_author(
    tx: Transaction, identities: Identities, room: Room, user: UserId, *, with_service_users: bool = False
) -> Author | None:
    """Return the author of an event; None for a service user, which writes no messages, unless ``with_service_users``."""
    identity = identities.describe(user)
    if isinstance(identity, ServiceUser):
        return Author(AuthorKind.MATRIX, user, user) if with_service_users else None
    kind, author_id = identity
    if room.agent is not None:
        return Author(kind, author_id, await tx.direct_chats.display_name(room.id, user) or author_id)
    member = await tx.members.get(room.id, user)
    return Author(kind, author_id, (member and member.display_name) or author_id, member.avatar_url if member else None)
