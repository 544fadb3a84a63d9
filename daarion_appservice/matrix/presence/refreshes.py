"""Whose presence must be told again, and when: everybody once in a period, one after the other. No clock, no I/O.

A queue in the order in which they were told last. Its head is due when its period is over, and earlier if the pace wants it:
one in every ``period / n``. So those who came all at once spread out over the period within a few rounds, and the cost of a
look is the same for ten ghosts and ten thousand.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ...city.types import UserId

_SOONEST: Final = 0.5
"""Nobody is told again before this share of the period is over, however few there are to tell."""
_LATE: Final = 4 / 3
"""After how many periods the homeserver may have forgotten somebody (it keeps 30 s, or 1/0.7 of a measured period)."""

_NEVER_MS: Final = 0


class RefreshSchedule:
    """Times are milliseconds since 1970; none goes back."""

    def __init__(self, *, period_ms: int) -> None:
        self.period_ms = period_ms
        self._told_ms: OrderedDict[UserId, int] = OrderedDict()
        self._taken_ms = _NEVER_MS

    def __len__(self) -> int:
        return len(self._told_ms)

    def told(self, user: UserId, now_ms: int) -> None:
        """The homeserver knows how ``user`` is; within a period it must hear so again."""
        if not self._told_ms:
            self._taken_ms = now_ms
        self._told_ms[user] = now_ms
        self._told_ms.move_to_end(user)

    def at_once(self, user: UserId) -> None:
        """The homeserver may know nothing of ``user``."""
        self._told_ms[user] = _NEVER_MS
        self._told_ms.move_to_end(user, last=False)

    def drop(self, user: UserId) -> None:
        self._told_ms.pop(user, None)

    def clear(self) -> None:
        self._told_ms.clear()

    def take(self, now_ms: int) -> UserId | None:
        """Whoever is due, and is no longer in the queue then; None when nobody is."""
        due_ms = self.due_ms
        if due_ms is None or due_ms > now_ms:
            return None
        self._taken_ms = now_ms
        return self._told_ms.popitem(last=False)[0]

    @property
    def due_ms(self) -> int | None:
        """When somebody is due; None when nobody is here."""
        if not self._told_ms:
            return None
        told_ms = next(iter(self._told_ms.values()))
        paced_ms = self._taken_ms + self.period_ms // len(self._told_ms)
        return min(told_ms + self.period_ms, max(paced_ms, told_ms + int(self.period_ms * _SOONEST)))

    def are_overdue(self, now_ms: int) -> bool:
        """Whether somebody's period is over."""
        return bool(self._told_ms) and next(iter(self._told_ms.values())) + self.period_ms <= now_ms

    def are_too_late(self, now_ms: int) -> bool:
        """Whether the homeserver may have forgotten somebody of whom it was told."""
        told_ms = next(iter(self._told_ms.values()), _NEVER_MS)
        return told_ms != _NEVER_MS and told_ms + int(self.period_ms * _LATE) < now_ms
