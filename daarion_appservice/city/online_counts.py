"""Counts of online subjects, updated by transitions and memberships, without scanning."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .online_members import OnlineMembers
from .presence import Status, Transition
from .types import SubjectId, is_person


class OnlineCounts:
    """Numbers of online agents, citizens and Matrix users."""

    def __init__(self, online_members: OnlineMembers) -> None:
        self._online_members = online_members
        self._count: Counter[tuple[str, Status]] = Counter()

    def follow(self, transition: Transition) -> None:
        kind = _kind(transition.subject)
        self._count[kind, transition.before.status] -= 1
        self._count[kind, transition.after.status] += 1

    def summary(self) -> dict[str, Any]:
        """Return the counts. ``online`` includes ``away``, the number of subjects with that status."""
        away = {kind: self._count[kind, Status.AWAY] for kind in _KINDS}
        here = {kind: away[kind] + self._count[kind, Status.ONLINE] for kind in _KINDS}
        return {
            "online": here | {"total": sum(here.values())},
            "away": away | {"total": sum(away.values())},
            "rooms": self._online_members.counts(),
        }


_KINDS = ("citizens", "agents", "people")


def _kind(subject: SubjectId) -> str:
    if subject.startswith("agent:"):
        return "agents"
    return "people" if is_person(subject) else "citizens"
