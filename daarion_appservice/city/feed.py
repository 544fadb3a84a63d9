"""What of all that happens is told on the city's front page; written in the same transaction as the thing itself."""

from __future__ import annotations

from typing import Final

from .ports import NewId
from .reading import is_listed
from .types import Author, AuthorKind, FeedEntry, FeedKind, HistoryVisibility, Message, Room, RoomEvent

_MAX_EXCERPT: Final = 280
"""Characters of a message that the feed shows."""


class FeedWriter:
    """Makes entries; whoever makes the thing stores them with it."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id

    def message(self, message: Message) -> FeedEntry:
        is_answer = message.author.kind is AuthorKind.AGENT and message.reply_to is not None
        body = message.body if len(message.body) <= _MAX_EXCERPT else message.body[: _MAX_EXCERPT - 1] + "…"
        return FeedEntry(
            self._new_id(),
            FeedKind.AGENT_REPLY if is_answer else FeedKind.ROOM_MESSAGE,
            message.created_at_ms,
            message.room_id,
            message.author,
            message.id,
            {"message_id": message.id, "body": body},
            *_read_as(message),
        )

    def room_created(self, room: Room) -> FeedEntry:
        payload = {"slug": room.slug, "name": room.name, "description": room.description}
        return FeedEntry(
            self._new_id(),
            FeedKind.ROOM_CREATED,
            room.created_at_ms,
            room.id,
            payload=payload,
            visibility=_of_room(room),
            seq=room.last_seq,
        )

    def renamed(self, room: Room, was: str, at_ms: int) -> FeedEntry:
        return self._of_city("room_renamed", room, at_ms, was=was)

    def archived(self, room: Room, at_ms: int) -> FeedEntry:
        return self._of_city("room_archived" if room.archived else "room_reopened", room, at_ms)

    def joined(self, event: RoomEvent) -> FeedEntry:
        return FeedEntry(
            self._new_id(),
            FeedKind.MEMBER_JOINED,
            event.at_ms,
            event.room_id,
            event.who,
            visibility=event.visibility,
            seq=event.seq,
        )

    def agent_online(self, agent: Author, at_ms: int) -> FeedEntry:
        return FeedEntry(self._new_id(), FeedKind.AGENT_ONLINE, at_ms, None, agent)

    def _of_city(self, what: str, room: Room, at_ms: int, **more: str) -> FeedEntry:
        payload = {"what": what, "slug": room.slug, "name": room.name} | more
        return FeedEntry(
            self._new_id(),
            FeedKind.SYSTEM,
            at_ms,
            room.id,
            payload=payload,
            visibility=_of_room(room),
            seq=room.last_seq,
        )


def _read_as(message: Message) -> tuple[HistoryVisibility, int]:
    """Who may read what a message says now: what it said before an edit is not told any more."""
    if message.edit_seq is not None and message.edit_visibility is not HistoryVisibility.WORLD_READABLE:
        return message.edit_visibility, message.edit_seq
    return message.visibility, message.seq


def _of_room(room: Room) -> HistoryVisibility:
    """Who may read the name of a room."""
    return HistoryVisibility.WORLD_READABLE if is_listed(room) else room.history_visibility
