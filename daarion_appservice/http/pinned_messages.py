"""The pinned messages of a room, as a reader may see them."""

from __future__ import annotations

from dataclasses import dataclass

from ..city.history_visibility import as_seen, may_subscribe
from ..city.identity import Identities
from ..city.message_lookup import find_message_of_event
from ..city.types import EventId, Message
from ..storage.database import Database, Transaction
from . import schemas
from .auth.principals import Principal
from .message_views import message_view
from .room_responses import CachedRoomResponses
from .room_views import pinned_events


@dataclass(frozen=True, slots=True)
class PinnedMessages:
    database: Database
    pages: CachedRoomResponses
    identities: Identities

    async def of(self, id_or_slug: str, principal: Principal) -> list[schemas.Message]:
        """Return the pinned messages of a room that the principal may read, the newest pin first.

        A reader of a room's public past only gets none: the pins are of the present.

        Raises:
            NotFound: the room does not exist, or the principal may not know of it.
        """
        page = await self.pages.room(id_or_slug, principal, limit=1)
        room, readable = page.room, page.readable
        pinned = pinned_events(room) if may_subscribe(room, readable) else []
        if not pinned:
            return []
        async with self.database.read_only() as tx:
            found = [await _message(tx, event) for event in reversed(pinned)]
        return [
            message_view(as_seen(message, room, readable), self.identities)
            for message in found
            if message is not None and message.room_id == room.id and readable.may_read_message(message)
        ]


async def _message(tx: Transaction, event: EventId) -> Message | None:
    message = await find_message_of_event(tx, event)
    return None if message is None or message.deleted else message
