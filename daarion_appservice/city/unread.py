"""Unread messages and mentions of a citizen, by room.

A read mark is the sequence number up to which a citizen has read a room's main timeline or one of its threads. It only
moves forward, and one's own messages move it.

    unread     messages of others in the main timeline after the read mark
    mentions   messages after it, also of threads, that mention the citizen, mention ``@room`` or reply to the citizen, and
               all messages of a direct chat

A room that the citizen neither joined nor opened has no unread messages, but may have mentions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .types import Author, CitizenId, Message, MessageId, RoomId, SubjectId, is_agent

MAX_COUNT: Final = 100
"""Counts stop here: pages display "99+"."""
ROOM_MENTION: Final = SubjectId("@room")
"""The subject of a mention of all members; no user id is without a colon."""


class NotificationMode(StrEnum):
    """The messages of a room that notify a citizen."""

    ALL = "all"
    MENTIONS = "mentions"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReadMark:
    """How far a citizen has read a timeline."""

    citizen: CitizenId
    room: RoomId
    seq: int
    thread_root: MessageId | None = None
    """The root of a thread; None for the main timeline."""


@dataclass(frozen=True, slots=True)
class Mention:
    """An unread mention."""

    room: RoomId
    seq: int
    thread_root: MessageId | None
    is_of_room: bool
    """Whether the message mentions all members, and not the citizen as well."""


@dataclass(frozen=True, slots=True)
class RoomMarks:
    """The read marks of a citizen in one room."""

    main: int | None = None
    """None for a citizen who neither joined nor opened the room."""
    threads: Mapping[MessageId, int] = field(default_factory=dict)

    def is_read(self, seq: int, thread_root: MessageId | None) -> bool:
        """Return whether a message is read: by its thread's mark, or by that of the main timeline."""
        if self.main is not None and seq <= self.main:
            return True
        return thread_root is not None and seq <= self.threads.get(thread_root, seq - 1)

    def latest(self, other: RoomMarks) -> RoomMarks:
        """Return the later mark of each timeline."""
        mains = [seq for seq in (self.main, other.main) if seq is not None]
        threads = dict(self.threads)
        for root, seq in other.threads.items():
            threads[root] = max(seq, threads.get(root, seq))
        return RoomMarks(max(mains, default=None), threads)


@dataclass(frozen=True, slots=True)
class RoomUnread:
    """The state of one room for a citizen."""

    room: RoomId
    marks: RoomMarks = field(default_factory=RoomMarks)
    unread: int = 0
    mentions: int = 0
    mode: NotificationMode = NotificationMode.ALL
    is_joined: bool = False
    counted_seq: int = 0
    """The number of the room's last event that the counts include."""


def mentioned_people(message: Message, replied_to: Author | None) -> frozenset[SubjectId]:
    """Return the citizens and Matrix users that a message mentions, with the author of the message that it replies to.

    Args:
        replied_to: The author of the message that it replies to.

    Returns:
        The subjects without the author and without agents; ``ROOM_MENTION`` for a mention of all members.
    """
    subjects = {*message.mentions, *([replied_to.subject] if replied_to is not None else [])}
    people = {subject for subject in subjects if not is_agent(subject) and subject != message.author.subject}
    return frozenset(people | ({ROOM_MENTION} if message.details.mentions_room else set()))
