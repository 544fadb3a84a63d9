"""Presence of persons: the presence of both subjects of a linked person, merged.

The presence store holds each subject for itself: the sessions of a citizen decide over the presence of the ghost on
Matrix, and Redis has a key for each subject. What clients receive is merged here:

    transition of u_1    ─┐
                          ├─► PersonPresence ─► transition of @alice:example.org, if the merged presence changed
    transition of @alice ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .linked_accounts import LinkedAccounts
from .presence import STRENGTH, PresenceState, Status, Transition
from .types import SubjectId

_OFFLINE = PresenceState()


class PersonPresence:
    """Merges transitions and states of subjects to those of their canonical subjects.

    Args:
        accounts: the links; ``set_canonical_subject`` must be called when one changes.
        state_of_subject: returns the state of one subject in the presence store.
    """

    def __init__(self, accounts: LinkedAccounts, state_of_subject: Callable[[SubjectId], PresenceState]) -> None:
        self._accounts = accounts
        self._state_of_subject = state_of_subject
        self._states: dict[SubjectId, PresenceState] = {}
        """The subjects that are not offline, as of the last transition."""
        self._canonical_subjects: dict[SubjectId, SubjectId] = {}
        """The canonical subject of each linked citizen, as of the last ``set_canonical_subject``."""
        self._citizen_of: dict[SubjectId, SubjectId] = {}

    def state(self, subject: SubjectId, known: PresenceState | None = None) -> PresenceState:
        """Return the merged state of the subject's person; ``known`` is a newer state of ``subject`` itself."""
        return merged(
            known if known is not None and each == subject else self._state_of_subject(each)
            for each in self._accounts.subjects_of(subject)
        )

    def apply(self, transition: Transition) -> Transition | None:
        """Return the transition of the person; None if the merged state stays the same."""
        subject = transition.subject
        person = self._canonical_subjects.get(subject, subject)
        is_linked = person != subject or person in self._citizen_of
        before = self._merged(person) if is_linked else transition.before
        self._put(subject, transition.after)
        if not is_linked:
            return transition
        after = self._merged(person)
        return Transition(person, before, after) if before != after else None

    def set_canonical_subject(self, citizen: SubjectId, person: SubjectId) -> list[Transition]:
        """Set the canonical subject of a citizen. Returns the transitions of the former and of the new one."""
        persons = dict.fromkeys((self._canonical_subjects.get(citizen, citizen), person))
        before = {each: self._merged(each) for each in persons}
        former = self._canonical_subjects.pop(citizen, None)
        if former is not None and self._citizen_of.get(former) == citizen:
            del self._citizen_of[former]
        if person != citizen:
            self._canonical_subjects[citizen], self._citizen_of[person] = person, citizen
        return [
            Transition(each, before[each], after) for each in persons if (after := self._merged(each)) != before[each]
        ]

    def _merged(self, person: SubjectId) -> PresenceState:
        return merged(self._states.get(each, _OFFLINE) for each in self._shown_subjects(person))

    def _shown_subjects(self, person: SubjectId) -> tuple[SubjectId, ...]:
        """Return the subjects whose canonical subject is ``person``; none for a linked citizen."""
        if person in self._canonical_subjects:
            return ()
        citizen = self._citizen_of.get(person)
        return (person,) if citizen is None else (person, citizen)

    def _put(self, subject: SubjectId, state: PresenceState) -> None:
        if state.status is Status.OFFLINE:
            self._states.pop(subject, None)
        else:
            self._states[subject] = state


def merged(states: Iterable[PresenceState]) -> PresenceState:
    """Return the strongest status, the first text by strength, and the last activity of all states."""
    by_strength = sorted(states, key=lambda state: -STRENGTH[state.status])
    if not by_strength:
        return _OFFLINE
    status = by_strength[0].status
    text = next((state.status_msg for state in by_strength if state.status_msg is not None), None)
    active = [state.last_active_ms for state in by_strength if state.last_active_ms is not None]
    return PresenceState(status, text, max(active, default=None))
