"""Encodes the events of a room as WebSocket frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...city.history_visibility import is_readable_by_all
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.person_presence import PersonPresence
from ...city.ports import NowMs
from ...city.receipts import NamedReceipt
from ...city.room_events import Removal, RoomEvent, RoomEventKind
from ...city.timestamps import timestamp
from ...city.types import Author, Message, Room, RoomId, SubjectId
from ...json_encoding import JSON, encode_json
from ...realtime.presence_stream import EncodedPresence, encode_presence
from ..author_views import author_view, receipt_view
from ..message_views import message_view
from ..room_views import room_view
from ..unread_views import optional_last_message_view
from .frames import text_frame


@dataclass(frozen=True, slots=True)
class RoomFrames:
    """Encodes room events as WebSocket frames."""

    person_presence: PersonPresence
    online_members: OnlineMembers
    identities: Identities
    now_ms: NowMs

    def event(self, event: RoomEvent, *, with_message: bool = True) -> bytes:
        """Encode an event of a room.

        Args:
            with_message: include the message, not only its id. A replay with several events of one message includes it once.
        """
        content: JSON = {"event": event.kind, "room_id": event.room_id, "seq": event.seq}
        followed_by = b""
        match event.kind:
            case RoomEventKind.JOIN | RoomEventKind.LEAVE:
                assert event.who is not None
                content |= {
                    "member": author_view(event.who, self.identities),
                    "created_at": timestamp(event.at_ms),
                    "members_online": self.online_members.members_online(event.room_id),
                }
                if event.kind is RoomEventKind.LEAVE:
                    content |= self._removal_fields(event.removal)
                    followed_by = self._remaining_person(event.room_id, event.who)
            case _:
                content |= self._message_fields(event, with_message=with_message)
        return _frame(content) + followed_by

    def _remaining_person(self, room: RoomId, left: Author) -> bytes:
        """Return the presence of a linked person who is a member by the other subject, after one subject left."""
        person = self.identities.accounts.canonical_subject(left.subject)
        is_member = self.online_members.has_person(room, person)
        is_linked = len(self.identities.accounts.subjects_of(person)) > 1
        return self.presence(room, person) if is_linked and is_member else b""

    def _removal_fields(self, removal: Removal | None) -> JSON:
        """Return the fields that tell why a member left."""
        if removal is None:
            return {"cause": "left", "by": None, "reason": None}
        by = removal.by and author_view(removal.by, self.identities)
        return {"cause": removal.kind, "by": by, "reason": removal.reason}

    def changed(self, room: Room) -> bytes:
        view = room_view(room, self.online_members.members_online(room.id), self.identities)
        return _frame({"event": "city.room.updated", "room_id": room.id, "room": view})

    def _message_fields(self, event: RoomEvent, *, with_message: bool) -> JSON:
        """Return the message in its current state, and the change; None for a message of a room that was emptied since."""
        message = event.message
        content: JSON = {
            "message_id": message and message.id,
            "message": message_view(message, self.identities) if message and with_message else None,
        }
        if event.who is not None:
            content |= {"by": author_view(event.who, self.identities), "created_at": timestamp(event.at_ms)}
        if event.kind is RoomEventKind.REACTION:
            content |= {"emoji": event.key, "added": event.added}
        return content

    def member(self, room: RoomId, member: Author) -> bytes:
        return _frame({"event": "city.room.member", "room_id": room, "member": author_view(member, self.identities)})

    def presence(self, room: RoomId, subject: SubjectId) -> bytes:
        return _frame(self._presence_fields("city.room.presence", room) | self._presence_of(subject))

    def presences(self, room: RoomId, subjects: Collection[SubjectId]) -> bytes:
        updates = [self._presence_of(subject) for subject in subjects]
        return _frame(self._presence_fields("city.room.presences", room) | {"updates": updates})

    def _presence_fields(self, event: str, room: RoomId) -> JSON:
        return {"event": event, "room_id": room, "members_online": self.online_members.members_online(room)}

    def _presence_of(self, subject: SubjectId) -> EncodedPresence:
        return encode_presence(subject, self.person_presence.state(subject), self.now_ms())

    def typing(self, room: RoomId, subjects: frozenset[SubjectId]) -> bytes:
        typing = sorted(set(self.identities.accounts.canonical_subjects(subjects)))
        return _frame({"event": "city.room.typing", "room_id": room, "typing": typing})

    def receipt(self, named: NamedReceipt) -> bytes:
        view = receipt_view(named, self.identities)
        return _frame({"event": "city.room.read", "room_id": named.receipt.key.room} | view)

    def rooms(self, rooms: Sequence[Room], last: Mapping[RoomId, Message]) -> bytes:
        """Encode rooms in the form of ``GET /city/rooms``.

        Args:
            last: the last messages of the rooms that everyone may read.
        """
        views = []
        for room in rooms:
            view = room_view(room, self.online_members.members_online(room.id), self.identities)
            if is_readable_by_all(room):
                view["last_message"] = optional_last_message_view(last.get(room.id), self.identities)
            views.append(view)
        return _frame({"event": "city.rooms.updated", "rooms": views})

    def rooms_resync(self) -> bytes:
        return _frame({"event": "city.rooms.resync"})

    def resync(self, room: RoomId, seq: int) -> bytes:
        return _frame({"event": "city.room.resync", "room_id": room, "seq": seq})


def _frame(content: JSON) -> bytes:
    return text_frame(encode_json(content))
