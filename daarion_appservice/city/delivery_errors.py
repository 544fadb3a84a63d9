"""Delivery errors: codes for clients that tell why a message will not be sent to Matrix."""

from __future__ import annotations

from enum import StrEnum

from ..errors import Forbidden
from .permissions import RoomPermissions
from .ports import CityTransaction
from .types import Message


class DeliveryError(StrEnum):
    """The cause of a ``failed`` delivery. Codes of errors that `RoomPermissions` raises have the same values here."""

    ACCOUNT_TAKEN = "account_taken"
    BANNED = "banned"
    BLOCKED = "blocked"
    CHAT_OVER = "chat_over"
    DELETED = "deleted"
    INVITE_ONLY = "invite_only"
    KICKED = "kicked"
    MUTED = "muted"
    NOT_ALLOWED = "not_allowed"
    NOT_PRIVATE = "not_private"
    REFUSED = "refused"
    TOO_LARGE = "too_large"


async def most_specific_error(
    tx: CityTransaction, permissions: RoomPermissions, message: Message, error: DeliveryError
) -> DeliveryError:
    """Return the most specific cause: the message was deleted, or the room does not allow its author to join or send."""
    if message.deleted:
        return DeliveryError.DELETED
    room = await tx.rooms.lock_any(message.room_id)
    if error is not DeliveryError.NOT_ALLOWED or room is None:
        return error
    try:
        await permissions.check_may_send(tx, room, message.author)
    except Forbidden as refusal:
        # A homeserver refuses all of these with M_FORBIDDEN; the city knows the room's rules.
        return DeliveryError(refusal.code)
    return error
