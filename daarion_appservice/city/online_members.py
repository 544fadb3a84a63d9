"""How many members of each room are here, kept by counting: nothing is ever scanned to answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

from .types import RoomId, SubjectId


class OnlineMembers:
    """Who is a member where, who is here, and from the two the number of members here, room by room."""

    def __init__(self) -> None:
        self._rooms_of: defaultdict[SubjectId, set[RoomId]] = defaultdict(set)
        self._members_of: defaultdict[RoomId, set[SubjectId]] = defaultdict(set)
        self._here: set[SubjectId] = set()
        self._count: Counter[RoomId] = Counter()

    def joined(self, room: RoomId, subject: SubjectId) -> None:
        if subject in self._members_of[room]:
            return
        self._members_of[room].add(subject)
        self._rooms_of[subject].add(room)
        if subject in self._here:
            self._count[room] += 1

    def left(self, room: RoomId, subject: SubjectId) -> None:
        if subject not in self._members_of[room]:
            return
        self._members_of[room].discard(subject)
        self._rooms_of[subject].discard(room)
        if subject in self._here:
            self._count[room] -= 1

    def connected(self, subject: SubjectId) -> None:
        if subject not in self._here:
            self._here.add(subject)
            self._count.update(self._rooms_of.get(subject, ()))

    def disconnected(self, subject: SubjectId) -> None:
        if subject in self._here:
            self._here.discard(subject)
            self._count.subtract(self._rooms_of.get(subject, ()))

    def memberships(self) -> set[tuple[RoomId, SubjectId]]:
        """All of them, in no order."""
        return {(room, subject) for room, members in self._members_of.items() for subject in members}

    def members_online(self, room: RoomId) -> int:
        return self._count[room]

    def counts(self) -> dict[RoomId, int]:
        """Members online, room by room; rooms where nobody is may be missing."""
        return dict(self._count)

    def is_member(self, room: RoomId, subject: SubjectId) -> bool:
        return subject in self._members_of.get(room, ())

    def rooms_of(self, subject: SubjectId) -> Set[RoomId]:
        """The rooms that ``subject`` is a member of."""
        return self._rooms_of.get(subject, set())

    def online_members(self, room: RoomId) -> Iterable[SubjectId]:
        """The members of ``room`` who are here, in no order; walks the smaller of the two sets."""
        members = self._members_of.get(room, set())
        return members & self._here
