"""A process's copy of the presence that several processes share; it is never ahead of the shared state.

Changes are applied one by one in the order of their numbers, and each names the number before it, so a missing change
is noticed. After an outage the whole state is loaded again, and the differences are published.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..city.events import PresenceChanged, PresenceRenumbered
from ..city.ports import Publish
from ..city.presence import STRENGTH, KeepCurrent, PresenceState, Status, Transition
from ..city.types import SubjectId

RESERVED_NUMBERS: Final = 1 << 24
"""How many numbers below its mark a process reserves for itself: more than there are subjects."""
_STANDALONE_NUMBERS: Final = 1 << 28
"""Range of the random number at which a disconnected process begins, so that no two processes use the same numbers."""


@dataclass(frozen=True, slots=True)
class SharedChange:
    """An entry of the stream of changes; ``subject`` is None for a mark, which changes no subject."""

    seq: int
    previous_seq: int
    subject: SubjectId | None
    state: PresenceState


class ChangesMissing(Exception):
    """The stream of changes does not continue at the expected number."""


class PresenceReplica:
    """The presence of all subjects, as this process knows it."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._states: dict[SubjectId, PresenceState] = {}
        self._active_ms: dict[SubjectId, int] = {}
        """Time of a subject's last activity, if it is later than the last change."""
        self._loaded_seqs: dict[SubjectId, int] = {}
        """Numbers of changes that were loaded with the whole state and will arrive by the stream too."""
        self.seq = 0
        """The newest published number."""
        self.read_seq = 0
        """The newest number read from the stream."""

    def state(self, subject: SubjectId) -> PresenceState:
        state = self._states.get(subject)
        if state is None:
            return PresenceState()
        return PresenceState(state.status, state.status_msg, self._last_active_ms(subject, state))

    def online(self) -> dict[SubjectId, PresenceState]:
        """Return the presence of all subjects that are not offline."""
        return {subject: self.state(subject) for subject, state in self._states.items() if _is_online(state)}

    def record_activity(self, subject: SubjectId, at_ms: int) -> None:
        """Record activity of a subject that changed no status."""
        if at_ms > self._active_ms.get(subject, 0):
            self._active_ms[subject] = at_ms

    def load(self, mark: int, snapshot: Mapping[SubjectId, tuple[PresenceState, int]]) -> None:
        """Replace the whole state.

        Args:
            mark: the number after which the state was read.
            snapshot: each subject's presence and the number of its newest change.
        """
        offline = [
            (subject, PresenceState(Status.OFFLINE, None, state.last_active_ms))
            for subject, state in self.online().items()
            if subject not in snapshot
        ]
        changed = [(subject, state) for subject, (state, _) in snapshot.items() if self._differs(subject, state)]
        differing = offline + changed
        self._loaded_seqs = {subject: seq for subject, (_, seq) in snapshot.items() if seq > mark}
        self._publish(PresenceRenumbered(mark - len(differing)))
        for number, (subject, state) in enumerate(differing, start=mark - len(differing) + 1):
            self._set(subject, state, number)
        for subject, (state, _) in snapshot.items():
            self._states[subject] = state
        self.seq = self.read_seq = mark

    def apply(self, change: SharedChange) -> None:
        """Apply the next change of the stream. Raise ChangesMissing if the number before it is not the expected one."""
        if change.previous_seq != self.read_seq:
            raise ChangesMissing
        self.read_seq = change.seq
        if change.subject is None:
            self._publish(PresenceRenumbered(change.seq))
        elif not self._is_loaded(change.subject, change.seq) and self._differs(change.subject, change.state):
            self._set(change.subject, change.state, change.seq)
        self.seq = change.seq

    def _is_loaded(self, subject: SubjectId, seq: int) -> bool:
        """Return whether a change was part of the whole state already."""
        newest = self._loaded_seqs.get(subject, 0)
        if newest <= seq:
            self._loaded_seqs.pop(subject, None)
        return seq <= newest

    def enter_standalone(self, now_ms: int) -> None:
        """Begin with local changes and local numbers, while Redis is away.

        Another process does not know these numbers, so a client that reconnects there with one of them gets a snapshot.
        """
        self.seq = max(self.seq, now_ms * 1000) + RESERVED_NUMBERS + secrets.randbelow(_STANDALONE_NUMBERS)
        self._publish(PresenceRenumbered(self.seq))

    def apply_locally(
        self, subject: SubjectId, status: Status, status_msg: str | KeepCurrent | None, at_ms: int
    ) -> PresenceState:
        """Apply a heartbeat while Redis is away.

        Other processes may know other sessions of the subject, so it may come online or stay, but not go offline.
        """
        before = self.state(subject)
        if status is Status.ONLINE:
            self.record_activity(subject, at_ms)
        if status is not Status.OFFLINE:
            text = before.status_msg if isinstance(status_msg, KeepCurrent) else status_msg
            state = PresenceState(max(before.status, status, key=STRENGTH.__getitem__), text, before.last_active_ms)
            if self._differs(subject, state):
                self.seq += 1
                self._set(subject, state, self.seq)
        return self.state(subject)

    def _set(self, subject: SubjectId, state: PresenceState, seq: int) -> None:
        before = self.state(subject)
        self._states[subject] = state
        self._publish(PresenceChanged(Transition(subject, before, self.state(subject)), seq))

    def _differs(self, subject: SubjectId, state: PresenceState) -> bool:
        known = self._states.get(subject, PresenceState())
        return (known.status, known.status_msg) != (state.status, state.status_msg)

    def _last_active_ms(self, subject: SubjectId, state: PresenceState) -> int | None:
        active_ms = self._active_ms.get(subject)
        if active_ms is None:
            return state.last_active_ms
        return max(active_ms, state.last_active_ms or 0)


def _is_online(state: PresenceState) -> bool:
    return state.status is not Status.OFFLINE
