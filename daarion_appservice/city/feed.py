"""The feed: the city's public list of recent events. Entries are written in the transaction of their event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from .excerpts import excerpt
from .feed_entries import FeedEntry, FeedKind
from .history_visibility import is_listed
from .ports import NewId
from .room_events import RoomEvent
from .types import Author, AuthorKind, HistoryVisibility, Message, Room

_MAX_EXCERPT: Final = 280
"""Characters of a message that the feed shows at most."""


_MESSAGES: Final = frozenset({FeedKind.ROOM_MESSAGE, FeedKind.AGENT_REPLY})


def front_page(entries: Sequence[FeedEntry], size: int) -> list[FeedEntry]:
    """Return ``size`` of these entries for the front page, newest first.

    Joins of one room without another entry between them are one entry, the newest, with their number as ``count`` in
    its payload. All entries but one are messages if there are enough; that one is the newest entry that remains.

    Args:
        entries: Entries, newest first.
        size: The number of entries to return.
    """
    grouped = _with_joins_grouped(entries)
    messages = [entry for entry in grouped if entry.kind in _MESSAGES][: size - 1]
    others = [entry for entry in grouped if entry not in messages]
    return sorted(messages + others[: size - len(messages)], key=lambda entry: entry.id, reverse=True)


def _with_joins_grouped(entries: Sequence[FeedEntry]) -> list[FeedEntry]:
    groups = [list(group) for _, group in groupby(entries, key=_group)]
    return [
        replace(group[0], payload={**group[0].payload, "count": str(len(group))}) if len(group) > 1 else group[0]
        for group in groups
    ]


def _group(entry: FeedEntry) -> object:
    return entry.room_id if entry.kind is FeedKind.MEMBER_JOINED else (entry.id,)


class FeedWriter:
    """Creates feed entries; the caller stores them with their event."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id

    def message(self, message: Message) -> FeedEntry:
        is_reply = message.author.kind is AuthorKind.AGENT and message.reply_to is not None
        body = excerpt(message.body, message.formatted_body, _MAX_EXCERPT)
        return FeedEntry(
            self._new_id(),
            FeedKind.AGENT_REPLY if is_reply else FeedKind.ROOM_MESSAGE,
            message.created_at_ms,
            message.room_id,
            message.author,
            message.id,
            {"message_id": message.id, "body": body},
            *_message_visibility(message),
        )

    def room_created(self, room: Room, by: Author | None) -> FeedEntry:
        payload = {"slug": room.slug, "name": room.name, "description": room.description}
        return FeedEntry(
            self._new_id(),
            FeedKind.ROOM_CREATED,
            room.created_at_ms,
            room.id,
            by,
            payload=payload,
            visibility=_room_visibility(room),
            seq=room.last_seq,
        )

    def renamed(self, room: Room, old_name: str, at_ms: int) -> FeedEntry:
        return self._system_entry("room_renamed", room, at_ms, was=old_name)

    def archived(self, room: Room, at_ms: int) -> FeedEntry:
        return self._system_entry("room_archived" if room.archived else "room_reopened", room, at_ms)

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

    def _system_entry(self, event: str, room: Room, at_ms: int, **more: str) -> FeedEntry:
        payload = {"what": event, "slug": room.slug, "name": room.name} | more
        return FeedEntry(
            self._new_id(),
            FeedKind.SYSTEM,
            at_ms,
            room.id,
            payload=payload,
            visibility=_room_visibility(room),
            seq=room.last_seq,
        )


def _message_visibility(message: Message) -> tuple[HistoryVisibility, int]:
    """Return who may read the message as it is now. The feed does not show the text before an edit."""
    if message.edit_seq is not None and message.edit_visibility is not HistoryVisibility.WORLD_READABLE:
        return message.edit_visibility, message.edit_seq
    return message.visibility, message.seq


def _room_visibility(room: Room) -> HistoryVisibility:
    """Return who may read the room's name."""
    return HistoryVisibility.WORLD_READABLE if is_listed(room) else room.history_visibility
