"""Counts of online subjects, updated by transitions and memberships, without scanning."""

from __future__ import annotations

from collections import Counter
from typing import Final, TypedDict

from .online_members import OnlineMembers
from .presence import Status, Transition
from .types import RoomId, SubjectId, is_person

KINDS: Final = ("citizens", "agents", "people")


class KindCounts(TypedDict):
    citizens: int
    agents: int
    people: int
    total: int


class Summary(TypedDict):
    online: KindCounts
    away: KindCounts
    rooms: dict[RoomId, int]


class OnlineCounts:
    """Numbers of online agents, citizens and Matrix users."""

    def __init__(self, online_members: OnlineMembers) -> None:
        self._online_members = online_members
        self._count: Counter[tuple[str, Status]] = Counter()
        self.transitions: Counter[tuple[str, Status]] = Counter()
        """How many transitions of each kind of subject led to each status, since the start."""

    def apply(self, transition: Transition) -> None:
        kind = _kind(transition.subject)
        before, after = transition.before.status, transition.after.status
        if before is after:
            return
        self._count[kind, before] -= 1
        self._count[kind, after] += 1
        self.transitions[kind, after] += 1

    def by_kind(self, status: Status) -> dict[str, int]:
        """Return the number of subjects with a status by kind: ``agents``, ``citizens``, ``people`` (Matrix users)."""
        return {kind: self._count[kind, status] for kind in KINDS}

    def summary(self) -> Summary:
        """Return the counts. ``online`` includes ``away``, the number of subjects with that status."""
        return {
            "online": self._counts(Status.ONLINE, Status.AWAY),
            "away": self._counts(Status.AWAY),
            "rooms": self._online_members.counts(),
        }

    def _counts(self, *statuses: Status) -> KindCounts:
        citizens, agents, people = (sum(self._count[kind, status] for status in statuses) for kind in KINDS)
        return {"citizens": citizens, "agents": agents, "people": people, "total": citizens + agents + people}


def _kind(subject: SubjectId) -> str:
    if subject.startswith("agent:"):
        return "agents"
    return "people" if is_person(subject) else "citizens"
