"""Counts of online members per room, updated by transitions and memberships, without scanning."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

from .types import RoomId, SubjectId


class OnlineMembers:
    """Memberships of rooms, online subjects, and the resulting number of online members of each room."""

    def __init__(self) -> None:
        self._rooms_of: defaultdict[SubjectId, set[RoomId]] = defaultdict(set)
        self._members_of: defaultdict[RoomId, set[SubjectId]] = defaultdict(set)
        self._online: set[SubjectId] = set()
        self._count: Counter[RoomId] = Counter()

    def add_membership(self, room: RoomId, subject: SubjectId) -> bool:
        """Add a membership; return False if the subject was a member before."""
        if subject in self._members_of[room]:
            return False
        self._members_of[room].add(subject)
        self._rooms_of[subject].add(room)
        if subject in self._online:
            self._count[room] += 1
        return True

    def remove_membership(self, room: RoomId, subject: SubjectId) -> bool:
        """Remove a membership; return False if the subject was no member."""
        if subject not in self._members_of[room]:
            return False
        self._members_of[room].discard(subject)
        self._rooms_of[subject].discard(room)
        if subject in self._online:
            self._count[room] -= 1
        return True

    def set_online(self, subject: SubjectId) -> None:
        if subject not in self._online:
            self._online.add(subject)
            self._count.update(self._rooms_of.get(subject, ()))

    def set_offline(self, subject: SubjectId) -> None:
        if subject in self._online:
            self._online.discard(subject)
            self._count.subtract(self._rooms_of.get(subject, ()))

    def memberships(self) -> set[tuple[RoomId, SubjectId]]:
        """Return all memberships, in no order."""
        return {(room, subject) for room, members in self._members_of.items() for subject in members}

    def members_online(self, room: RoomId) -> int:
        return self._count[room]

    def counts(self) -> dict[RoomId, int]:
        """Return the number of online members by room; rooms with none may be missing."""
        return dict(self._count)

    def is_member(self, room: RoomId, subject: SubjectId) -> bool:
        return subject in self._members_of.get(room, ())

    def rooms_of(self, subject: SubjectId) -> Set[RoomId]:
        """Return the rooms that ``subject`` is a member of."""
        return self._rooms_of.get(subject, set())

    def online_members(self, room: RoomId) -> Iterable[SubjectId]:
        """Return the online members of ``room``, in no order. The cost depends on the smaller of the two sets."""
        members = self._members_of.get(room, set())
        return members & self._online
