"""Counts of online members per room, updated by transitions and memberships, without scanning.

Memberships are of subjects, as on Matrix. Persons are counted: both subjects of a linked person are one member.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

from .types import RoomId, SubjectId


class OnlineMembers:
    """Memberships of rooms, online persons, and the resulting number of online members of each room."""

    def __init__(self) -> None:
        self._rooms_of: defaultdict[SubjectId, set[RoomId]] = defaultdict(set)
        self._members_of: defaultdict[RoomId, set[SubjectId]] = defaultdict(set)
        self._canonical_subjects: dict[SubjectId, SubjectId] = {}
        """The canonical subject of each linked citizen."""
        self._rooms_of_person: defaultdict[SubjectId, set[RoomId]] = defaultdict(set)
        self._persons_in: defaultdict[RoomId, Counter[SubjectId]] = defaultdict(Counter)
        """The persons who are members of each room, with their numbers of memberships."""
        self._online: set[SubjectId] = set()
        self._count: Counter[RoomId] = Counter()

    def add_membership(self, room: RoomId, subject: SubjectId) -> bool:
        """Add a membership; return False if the subject was a member before."""
        if subject in self._members_of[room]:
            return False
        self._members_of[room].add(subject)
        self._rooms_of[subject].add(room)
        self._add_person(room, self._canonical_subjects.get(subject, subject))
        return True

    def remove_membership(self, room: RoomId, subject: SubjectId) -> bool:
        """Remove a membership; return False if the subject was not a member."""
        if subject not in self._members_of[room]:
            return False
        self._members_of[room].discard(subject)
        self._rooms_of[subject].discard(room)
        self._remove_person(room, self._canonical_subjects.get(subject, subject))
        return True

    def set_canonical_subject(self, citizen: SubjectId, person: SubjectId) -> Set[RoomId]:
        """Set the canonical subject of a citizen, and return the rooms that the citizen is a member of."""
        rooms = self._rooms_of.get(citizen, set())
        for room in rooms:
            self._remove_person(room, self._canonical_subjects.get(citizen, citizen))
        self._canonical_subjects.pop(citizen, None)
        if person != citizen:
            self._canonical_subjects[citizen] = person
        for room in rooms:
            self._add_person(room, person)
        return rooms

    def set_online(self, person: SubjectId) -> None:
        if person not in self._online:
            self._online.add(person)
            self._count.update(self._rooms_of_person.get(person, ()))

    def set_offline(self, person: SubjectId) -> None:
        if person in self._online:
            self._online.discard(person)
            self._count.subtract(self._rooms_of_person.get(person, ()))

    def _add_person(self, room: RoomId, person: SubjectId) -> None:
        self._persons_in[room][person] += 1
        if self._persons_in[room][person] == 1:
            self._rooms_of_person[person].add(room)
            if person in self._online:
                self._count[room] += 1

    def _remove_person(self, room: RoomId, person: SubjectId) -> None:
        self._persons_in[room][person] -= 1
        if self._persons_in[room][person] == 0:
            del self._persons_in[room][person]
            self._rooms_of_person[person].discard(room)
            if person in self._online:
                self._count[room] -= 1

    def memberships(self) -> set[tuple[RoomId, SubjectId]]:
        """Return all memberships, in no order."""
        return {(room, subject) for room, members in self._members_of.items() for subject in members}

    def members_online(self, room: RoomId) -> int:
        return self._count[room]

    def counts(self) -> dict[RoomId, int]:
        """Return the number of online members by room; rooms with none may be missing."""
        return dict(self._count)

    def members_of(self, room: RoomId) -> Set[SubjectId]:
        """Return the subjects that are members of ``room``."""
        return self._members_of.get(room, set())

    def is_member(self, room: RoomId, subject: SubjectId) -> bool:
        return subject in self._members_of.get(room, ())

    def has_person(self, room: RoomId, subject: SubjectId) -> bool:
        """Return whether the person of ``subject`` is a member, by any subject."""
        return self._canonical_subjects.get(subject, subject) in self._persons_in.get(room, ())

    def rooms_of_person(self, person: SubjectId) -> Set[RoomId]:
        """Return the rooms that a person is a member of, by any subject."""
        return self._rooms_of_person.get(person, set())

    def rooms_of(self, subject: SubjectId) -> Set[RoomId]:
        """Return the rooms that ``subject`` is a member of."""
        return self._rooms_of.get(subject, set())

    def online_members(self, room: RoomId) -> Iterable[SubjectId]:
        """Return the online persons in ``room``, in no order. The cost depends on the smaller of the two sets."""
        return self._persons_in.get(room, {}).keys() & self._online
