"""Encodes unread counts as WebSocket frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...city.identity import Identities
from ...city.types import Message, RoomId
from ...city.unread import RoomUnread
from ...json_encoding import JSON, encode_json
from ..unread_views import optional_last_message_view, unread_view
from .frames import fragments, text_frame


@dataclass(frozen=True, slots=True)
class UnreadFrames:
    """Encodes unread counts as WebSocket frames."""

    identities: Identities

    def unread_snapshot(self, rooms: Iterable[RoomUnread]) -> bytes:
        """Encode all rooms of a citizen."""
        content: JSON = {"event": "city.unread.snapshot", "rooms": [_room(unread) for unread in rooms]}
        return b"".join(fragments(encode_json(content)))

    def unread(self, rooms: Sequence[RoomUnread], last: Mapping[RoomId, Message | None]) -> bytes:
        """Encode changed rooms.

        Args:
            last: the last message of each room in which it changed, as far as the citizen may read it.
        """
        views = []
        for unread in rooms:
            view = _room(unread)
            if unread.room in last:
                view["last_message"] = optional_last_message_view(last[unread.room], self.identities)
            views.append(view)
        return text_frame(encode_json({"event": "city.unread", "rooms": views}))


def _room(unread: RoomUnread) -> JSON:
    return {"room_id": unread.room, **unread_view(unread)}
