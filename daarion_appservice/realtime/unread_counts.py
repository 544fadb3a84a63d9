"""Counts the unread messages and mentions of one citizen, from the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..city.history_visibility import PUBLIC, ReadableRanges, may_subscribe
from ..city.reader_memberships import ReaderMemberships
from ..city.types import Author, CitizenId, Room, RoomId, user_subject
from ..city.unread import MAX_COUNT, Mention, NotificationMode, RoomMarks, RoomUnread
from ..storage.database import Transaction

_AT_ONCE: Final = 100
"""The number of rooms that one statement counts."""


@dataclass(frozen=True, slots=True)
class CitizenUnread:
    """The rooms of a citizen, with what decides what the citizen may read in them."""

    rooms: dict[RoomId, RoomUnread]
    ranges_by_room: dict[RoomId, ReadableRanges]
    """The readable ranges in rooms that are or were private."""


async def count_unread(
    tx: Transaction,
    readers: ReaderMemberships,
    citizen: Author,
    *,
    among: Collection[RoomId] | None = None,
    floors: Mapping[RoomId, RoomMarks] | None = None,
) -> CitizenUnread:
    """Return the rooms that a citizen joined, opened or is mentioned in, or for which it chose a notification mode.

    Args:
        tx: the transaction to read in.
        readers: finds what the citizen may read.
        among: only these rooms; None for all.
        floors: read marks that are not stored yet.
    """
    users = await readers.users(tx, citizen)
    account = user_subject(users[1]) if len(users) > 1 else None
    name = CitizenId(citizen.id)
    joins = await tx.read_marks.joins(users, among)
    marks = await tx.read_marks.of(name, joins, account, among)
    for room, floor in (floors or {}).items():
        marks[room] = marks.get(room, RoomMarks()).latest(floor)
    modes = await tx.read_marks.modes(name, among)
    ranges_by_room = await readers.ranges_by_room(tx, citizen)
    authors = readers.authors(citizen)
    # The rooms are read before the mentions: a message that arrives in between is in neither count, and is added later.
    rooms = {room.id: room for room in await tx.rooms.shown_by_ids({*marks, *modes}) if _is_open(room, ranges_by_room)}
    mentions = await tx.mentions.unread(name, authors, ranges_by_room, joins, among)
    newest = {mention.room: mention.seq for mention in sorted(mentions, key=_seq)}
    others = await tx.rooms.shown_by_ids(newest.keys() - marks.keys() - modes.keys())
    rooms |= {room.id: replace(room, last_seq=newest[room.id]) for room in others if _is_open(room, ranges_by_room)}
    counts = await _counts(tx, rooms, marks, ranges_by_room, authors)
    found = {
        room.id: RoomUnread(
            room.id,
            marks.get(room.id, RoomMarks()),
            counts.get(room.id, 0),
            mode=modes.get(room.id, NotificationMode.ALL),
            is_joined=room.id in joins,
            counted_seq=room.last_seq,
        )
        for room in rooms.values()
    }
    for mention in mentions:
        if (unread := found.get(mention.room)) is not None and _counts_for(mention, unread):
            found[mention.room] = replace(unread, mentions=min(unread.mentions + 1, MAX_COUNT))
    return CitizenUnread(found, ranges_by_room)


def _seq(mention: Mention) -> int:
    return mention.seq


def _is_open(room: Room, ranges_by_room: Mapping[RoomId, ReadableRanges]) -> bool:
    return not room.archived and may_subscribe(room, ranges_by_room.get(room.id, PUBLIC))


def _counts_for(mention: Mention, unread: RoomUnread) -> bool:
    """Return whether a mention is unread, and of the citizen: one of all members is of those who are members."""
    if mention.seq > unread.counted_seq or (mention.is_of_room and not unread.is_joined):
        return False
    return not unread.marks.is_read(mention.seq, mention.thread_root)


async def _counts(
    tx: Transaction,
    rooms: Mapping[RoomId, Room],
    marks: Mapping[RoomId, RoomMarks],
    ranges_by_room: Mapping[RoomId, ReadableRanges],
    authors: Collection[Author],
) -> dict[RoomId, int]:
    """Count the unread messages of the rooms that have events after their read marks."""
    behind = [
        (room, mark.main)
        for room, mark in marks.items()
        if room in rooms and mark.main is not None and mark.main < rooms[room].last_seq
    ]
    counts: dict[RoomId, int] = {}
    for start in range(0, len(behind), _AT_ONCE):
        part = dict(behind[start : start + _AT_ONCE])
        counts |= await tx.messages.unread(
            part,
            ranges_by_room,
            exclude=authors,
            limit=MAX_COUNT,
            up_to={room: rooms[room].last_seq for room in part},
            without_threads=True,
        )
    return counts
