"""Presence of subjects: a state machine without clock, tasks or I/O.

A subject (citizen, agent, Matrix user) has sessions (browser tabs, replicas). Each session lives until its deadline,
which every heartbeat moves. The city shows the strongest status of the live sessions. A heartbeat that changes nothing
costs one dictionary look-up and moves the deadline; the heap is only touched when a deadline is due:

    heartbeat ─► session.deadline = now + ttl        (the heap still holds the old deadline)
    expire ────► pop what is due ─► deadline moved? push it back with its new deadline : the session ends

So every live session has exactly one valid entry in the heap, and the cost of expiry depends on the deadlines that are
due, not on the number of sessions. A session that ended leaves its entry in the heap; `expire` ignores an entry whose
deadline is not the queued deadline of the session with that name.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .text_sanitizing import one_line
from .types import SubjectId


class Status(StrEnum):
    """The status of a session or subject, with the names that clients receive."""

    ONLINE = "online"
    AWAY = "away"
    OFFLINE = "offline"


STRENGTH: Final = {Status.OFFLINE: 0, Status.AWAY: 1, Status.ONLINE: 2}


class KeepCurrent:
    """Type of `KEEP`, which leaves the status text as it is; None clears the text."""


KEEP: Final = KeepCurrent()

MAX_SESSIONS: Final = 64
"""Sessions of one subject. One more ends the oldest, so that a client cannot fill the memory with session names."""

_NEVER: Final = 1 << 62
"""The deadline of a session that lasts until its source changes it."""


@dataclass(frozen=True, slots=True)
class PresenceState:
    """The presence that the city shows of a subject. ``last_active_ms`` is None for a subject that never was active."""

    status: Status = Status.OFFLINE
    status_msg: str | None = None
    last_active_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of the presence that the city shows of a subject."""

    subject: SubjectId
    before: PresenceState
    after: PresenceState


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat of one session; ``status=OFFLINE`` ends the session."""

    subject: SubjectId
    status: Status = Status.ONLINE
    status_msg: str | KeepCurrent | None = KEEP
    """The status text, reduced to one line (``text_sanitizing.one_line``) for every source."""
    session: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.status_msg, str):
            object.__setattr__(self, "status_msg", one_line(self.status_msg))


@dataclass(frozen=True, slots=True)
class RemotePresence:
    """The presence of a subject as its authority reports it (a homeserver for its users).

    It holds until the next report.
    """

    subject: SubjectId
    state: PresenceState
    session: str


@dataclass(slots=True)
class _Session:
    status: Status
    deadline_ms: int
    queued_ms: int
    """The deadline of the session's entry in the heap."""


@dataclass(slots=True)
class _Subject:
    sessions: dict[str, _Session] = field(default_factory=dict)
    shown: PresenceState = PresenceState()
    last_active_ms: int | None = None


class Presence:
    """All subjects and their sessions.

    Every method takes the time as an argument. Methods that may change a subject's state return transitions.
    """

    def __init__(self, *, ttl_ms: int) -> None:
        self.ttl_ms = ttl_ms
        self._subjects: dict[SubjectId, _Subject] = {}
        self._deadlines: list[tuple[int, SubjectId, str]] = []

    def record_heartbeat(
        self,
        subject_id: SubjectId,
        *,
        now_ms: int,
        status: Status = Status.ONLINE,
        status_msg: str | KeepCurrent | None = KEEP,
        session: str = "",
    ) -> Transition | None:
        """Record a heartbeat of one session; ``status=OFFLINE`` ends the session.

        Args:
            subject_id: The subject of the session.
            now_ms: The time in milliseconds since 1970.
            status: The status of the session.
            status_msg: The status text of the subject; None clears it, `KEEP` leaves it.
            session: The name of the session, unique per subject.

        Returns:
            The transition, or None if the subject's shown state did not change.
        """
        subject = self._subjects.get(subject_id)
        if status is Status.OFFLINE:
            return self._end(subject_id, session, status_msg) if subject else None
        if subject is None:
            subject = self._subjects[subject_id] = _Subject()
        if status is Status.ONLINE:
            subject.last_active_ms = now_ms
        deadline_ms = now_ms + self.ttl_ms
        known = subject.sessions.get(session)
        if known is None or known.queued_ms == _NEVER:
            if len(subject.sessions) >= MAX_SESSIONS:
                del subject.sessions[next(iter(subject.sessions))]
            subject.sessions[session] = _Session(status, deadline_ms, deadline_ms)
            heapq.heappush(self._deadlines, (deadline_ms, subject_id, session))
        else:
            known.deadline_ms = deadline_ms
            if known.status is status and (status_msg is KEEP or status_msg == subject.shown.status_msg):
                return None
            known.status = status
        return self._show(subject_id, subject, status_msg)

    def set_remote(
        self, subject_id: SubjectId, *, status: Status, status_msg: str | None, last_active_ms: int | None, session: str
    ) -> Transition | None:
        """Set a subject's presence as its authority (a homeserver for its users) reports it, until the next report.

        Args:
            subject_id: The subject.
            status: The reported status; OFFLINE ends the session.
            status_msg: The reported status text; None clears it.
            last_active_ms: The reported last activity in milliseconds since 1970; None if unknown.
            session: The name of the authority's session.

        Returns:
            The transition, or None if the subject's shown state did not change.
        """
        subject = self._subjects.get(subject_id)
        if status is Status.OFFLINE:
            return self._end(subject_id, session, None) if subject else None
        if subject is None:
            subject = self._subjects[subject_id] = _Subject()
        if last_active_ms is not None:
            subject.last_active_ms = max(last_active_ms, subject.last_active_ms or 0)
        subject.sessions[session] = _Session(status, _NEVER, _NEVER)
        return self._show(subject_id, subject, status_msg)

    def expire(self, *, now_ms: int) -> list[Transition]:
        """End every session whose deadline has passed."""
        transitions = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            queued_ms, subject_id, session = heapq.heappop(self._deadlines)
            live = self._subjects[subject_id].sessions.get(session)
            if live is None or live.queued_ms != queued_ms:
                continue
            if live.deadline_ms > now_ms:
                live.queued_ms = live.deadline_ms
                heapq.heappush(self._deadlines, (live.queued_ms, subject_id, session))
            elif transition := self._end(subject_id, session, None):
                transitions.append(transition)
        return transitions

    @property
    def next_deadline_ms(self) -> int | None:
        """When `expire` must be called next: never later than the next real deadline, possibly earlier."""
        return self._deadlines[0][0] if self._deadlines else None

    def state(self, subject_id: SubjectId) -> PresenceState:
        subject = self._subjects.get(subject_id)
        if subject is None:
            return PresenceState()
        shown = subject.shown
        return PresenceState(shown.status, shown.status_msg, subject.last_active_ms)

    def _end(self, subject_id: SubjectId, session: str, status_msg: str | KeepCurrent | None) -> Transition | None:
        subject = self._subjects[subject_id]
        subject.sessions.pop(session, None)
        return self._show(subject_id, subject, KEEP if subject.sessions else status_msg)

    def _show(
        self, subject_id: SubjectId, subject: _Subject, status_msg: str | KeepCurrent | None
    ) -> Transition | None:
        status = max(
            (session.status for session in subject.sessions.values()), key=STRENGTH.__getitem__, default=Status.OFFLINE
        )
        if isinstance(status_msg, KeepCurrent):
            # A status text that is not set again does not outlive the last session.
            status_msg = None if status is Status.OFFLINE else subject.shown.status_msg
        before, subject.shown = subject.shown, PresenceState(status, status_msg, subject.last_active_ms)
        if (before.status, before.status_msg) == (status, status_msg):
            return None
        return Transition(subject_id, before, subject.shown)
