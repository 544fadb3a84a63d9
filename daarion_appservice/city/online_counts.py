"""Counts of online subjects, updated by transitions and memberships, without scanning."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

from .online_members import OnlineMembers
from .presence import Status, Transition
from .types import RoomId, SubjectId, is_person


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

    def apply(self, transition: Transition) -> None:
        kind = _kind(transition.subject)
        self._count[kind, transition.before.status] -= 1
        self._count[kind, transition.after.status] += 1

    def summary(self) -> Summary:
        """Return the counts. ``online`` includes ``away``, the number of subjects with that status."""
        return {
            "online": self._counts(Status.ONLINE, Status.AWAY),
            "away": self._counts(Status.AWAY),
            "rooms": self._online_members.counts(),
        }

    def _counts(self, *statuses: Status) -> KindCounts:
        citizens, agents, people = (
            sum(self._count[kind, status] for status in statuses) for kind in ("citizens", "agents", "people")
        )
        return {"citizens": citizens, "agents": agents, "people": people, "total": citizens + agents + people}


def _kind(subject: SubjectId) -> str:
    if subject.startswith("agent:"):
        return "agents"
    return "people" if is_person(subject) else "citizens"
