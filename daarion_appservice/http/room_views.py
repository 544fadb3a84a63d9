"""The JSON representations of rooms."""

from __future__ import annotations

import orjson

from ..city.history_visibility import ReadableRanges, is_listed, is_readable_by_all, may_see_activity, room_as_seen
from ..city.identity import Identities
from ..city.timestamps import optional_timestamp, timestamp
from ..city.types import EventId, Room
from . import schemas
from .media_urls import MediaUrls


def room_view(room: Room, members_online: int, identities: Identities) -> schemas.Room:
    return {
        "id": room.id,
        "slug": room.slug,
        "name": room.shown_name,
        "description": room.description,
        "avatar_url": MediaUrls(identities.media_links, is_private=not is_listed(room)).url(room.avatar_url),
        "members_online": members_online,
        "last_event": optional_timestamp(room.last_event_ms),
        "last_seq": room.last_seq,
        "matrix_room_id": room.matrix_room_id,
        "matrix_room_alias": identities.room_alias(room.slug),
        "matrix_status": room.matrix_status,
        "matrix_error": room.matrix_error,
        "encrypted": room.encrypted,
        "history_visibility": room.history_visibility,
        "is_public": is_readable_by_all(room),
        "is_default": room.is_default,
        "archived": room.archived,
        "created_at": timestamp(room.created_at_ms),
        "pins": len(pinned_events(room)),
    }


def pinned_events(room: Room) -> list[EventId]:
    """Return the pinned events of a room, the oldest pin first."""
    return [EventId(each) for each in orjson.loads(room.pinned_events or "[]")]


def seen_room_view(
    room: Room, members_online: int, identities: Identities, readable: ReadableRanges, *, is_admin: bool = False
) -> schemas.Room:
    """Return a room as a reader with these ranges sees it: see ``history_visibility.room_as_seen``."""
    seen = room_as_seen(room, readable, is_admin=is_admin)
    return room_view(seen, members_online if is_admin or may_see_activity(room, readable) else 0, identities)
