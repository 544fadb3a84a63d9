"""What one process of several knows of everybody's presence: a copy of what they share, and never ahead of it.

Changes are followed one by one, in the order of their numbers, and each names the number before it: so a missing one is
noticed. After an outage the whole state is taken anew, and what is different is told.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..city.events import PresenceChanged, PresenceRenumbered
from ..city.ports import Publish
from ..city.presence import STRENGTH, PresenceState, RetentionRules, Status, Transition
from ..city.types import SubjectId

NUMBERS_APART: Final = 1 << 24
"""How many numbers below its mark a process has for itself: more than there are subjects."""
_NUMBERS_ALONE: Final = 1 << 28
"""Among how many numbers a process that is alone picks where to begin, so that no two give out the same."""


@dataclass(frozen=True, slots=True)
class SharedChange:
    """An entry of the stream of changes; ``subject`` is None for a mark, which changes nobody."""

    seq: int
    previous_seq: int
    subject: SubjectId | None
    shown: PresenceState


class ChangesMissing(Exception):
    """The stream of changes does not go on where we are."""


class PresenceReplica:
    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._shown: dict[SubjectId, PresenceState] = {}
        self._active_ms: dict[SubjectId, int] = {}
        """When somebody was last active, where that is later than when they last changed."""
        self._seqs: dict[SubjectId, int] = {}
        """Numbers of changes that were taken with the whole state, and will come by the stream too."""
        self.seq = 0
        """The newest number that was given out."""
        self.read_seq = 0
        """The newest number that the stream gave us."""

    def state(self, subject: SubjectId) -> PresenceState:
        shown = self._shown.get(subject)
        if shown is None:
            return PresenceState()
        return PresenceState(shown.status, shown.status_msg, self._latest(subject, shown))

    def here(self) -> dict[SubjectId, PresenceState]:
        """Everybody who is not offline."""
        return {subject: self.state(subject) for subject, shown in self._shown.items() if _is_here(shown)}

    def is_active(self, subject: SubjectId, at_ms: int) -> None:
        """Somebody showed a sign of life that changed nothing."""
        if at_ms > self._active_ms.get(subject, 0):
            self._active_ms[subject] = at_ms

    def begin(self, mark: int, everybody: Mapping[SubjectId, tuple[PresenceState, int]]) -> None:
        """Take the whole state, with the number of each one's newest change, as it is after ``mark``."""
        gone = [
            (subject, PresenceState(Status.OFFLINE, None, shown.last_active_ms))
            for subject, shown in self.here().items()
            if subject not in everybody
        ]
        changed = [(subject, shown) for subject, (shown, _) in everybody.items() if self._differs(subject, shown)]
        differing = gone + changed
        self._seqs = {subject: seq for subject, (_, seq) in everybody.items() if seq > mark}
        self._publish(PresenceRenumbered(mark - len(differing)))
        for number, (subject, shown) in enumerate(differing, start=mark - len(differing) + 1):
            self._set(subject, shown, number)
        for subject, (shown, _) in everybody.items():
            self._shown[subject] = shown
        self.seq = self.read_seq = mark

    def follow(self, change: SharedChange) -> None:
        """Take the next change of the stream. Raises ChangesMissing when it is not the next."""
        if change.previous_seq != self.read_seq:
            raise ChangesMissing
        self.read_seq = change.seq
        if change.subject is None:
            self._publish(PresenceRenumbered(change.seq))
        elif not self._is_known(change.subject, change.seq) and self._differs(change.subject, change.shown):
            self._set(change.subject, change.shown, change.seq)
        self.seq = change.seq

    def _is_known(self, subject: SubjectId, seq: int) -> bool:
        """Whether a change was part of the whole state already."""
        newest = self._seqs.get(subject, 0)
        if newest <= seq:
            self._seqs.pop(subject, None)
        return seq <= newest

    def go_alone(self, now_ms: int) -> None:
        """From here on changes are this process's own, and so are their numbers: a client that comes to another process
        with one of them has not heard what was told there, and must start afresh."""
        self.seq = max(self.seq, now_ms * 1000) + NUMBERS_APART + secrets.randbelow(_NUMBERS_ALONE)
        self._publish(PresenceRenumbered(self.seq))

    def take_alone(
        self, subject: SubjectId, status: Status, status_msg: str | RetentionRules | None, at_ms: int
    ) -> PresenceState:
        """A sign of life while nobody can be asked. Whether others know of another session of theirs nobody can tell,
        so somebody may come now, but nobody goes."""
        before = self.state(subject)
        if status is Status.ONLINE:
            self.is_active(subject, at_ms)
        if status is not Status.OFFLINE:
            text = before.status_msg if isinstance(status_msg, RetentionRules) else status_msg
            shown = PresenceState(max(before.status, status, key=STRENGTH.__getitem__), text, before.last_active_ms)
            if self._differs(subject, shown):
                self.seq += 1
                self._set(subject, shown, self.seq)
        return self.state(subject)

    def _set(self, subject: SubjectId, shown: PresenceState, seq: int) -> None:
        before = self.state(subject)
        self._shown[subject] = shown
        self._publish(PresenceChanged(Transition(subject, before, self.state(subject)), seq))

    def _differs(self, subject: SubjectId, shown: PresenceState) -> bool:
        known = self._shown.get(subject, PresenceState())
        return (known.status, known.status_msg) != (shown.status, shown.status_msg)

    def _latest(self, subject: SubjectId, shown: PresenceState) -> int | None:
        active_ms = self._active_ms.get(subject)
        if active_ms is None:
            return shown.last_active_ms
        return max(active_ms, shown.last_active_ms or 0)


def _is_here(shown: PresenceState) -> bool:
    return shown.status is not Status.OFFLINE
