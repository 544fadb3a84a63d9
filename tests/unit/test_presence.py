"""The presence state machine: tables of its rules, and random sequences compared with a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.presence import KEEP, MAX_SESSIONS, KeepCurrent, Presence, PresenceState, Status
from daarion_appservice.city.types import SubjectId

ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE
OKSANA = SubjectId("u_123")
ALICE = SubjectId("@alice:city.localhost")
TTL_MS = 40_000


@pytest.fixture
def city() -> Presence:
    return Presence(ttl_ms=TTL_MS)


def queued(city: Presence) -> int:
    """How many deadlines the machine remembers."""
    return len(city._deadlines)


@pytest.mark.parametrize(
    ("sessions", "shown"),
    [
        ([ONLINE], ONLINE),
        ([AWAY], AWAY),
        ([AWAY, ONLINE], ONLINE),
        ([ONLINE, AWAY], ONLINE),
        ([AWAY, AWAY, ONLINE, AWAY], ONLINE),
        ([AWAY, AWAY], AWAY),
        ([OFFLINE], OFFLINE),
        ([ONLINE, OFFLINE], ONLINE),
    ],
)
def test_strongest_session_state_is_shown(city: Presence, sessions: list[Status], shown: Status) -> None:
    for number, status in enumerate(sessions):
        city.record_heartbeat(OKSANA, now_ms=0, status=status, session=str(number))
    assert city.state(OKSANA).status is shown


def test_heartbeat_without_change_is_no_transition(city: Presence) -> None:
    first = city.record_heartbeat(OKSANA, now_ms=0, status_msg="слухаю")
    assert first is not None
    assert (first.before.status, first.after.status) == (OFFLINE, ONLINE)

    assert city.record_heartbeat(OKSANA, now_ms=20_000) is None
    assert city.record_heartbeat(OKSANA, now_ms=30_000, status_msg="слухаю") is None
    assert city.record_heartbeat(OKSANA, now_ms=30_000, status=AWAY, session="another tab") is None
    assert city.state(OKSANA) == PresenceState(ONLINE, "слухаю", 30_000)


def test_subject_expires_ttl_after_last_heartbeat(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0)
    city.record_heartbeat(OKSANA, now_ms=20_000)

    assert city.expire(now_ms=59_999) == []
    (gone,) = city.expire(now_ms=60_000)

    assert (gone.subject, gone.before.status, gone.after.status) == (OKSANA, ONLINE, OFFLINE)
    assert city.state(OKSANA) == PresenceState(OFFLINE, None, 20_000)
    assert city.expire(now_ms=10**9) == []


def test_closed_tab_leaves_other_sessions_online(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, session="phone")
    city.record_heartbeat(OKSANA, now_ms=0, session="laptop")

    assert city.record_heartbeat(OKSANA, now_ms=1, status=OFFLINE, session="phone") is None
    assert city.state(OKSANA).status is ONLINE
    gone = city.record_heartbeat(OKSANA, now_ms=2, status=OFFLINE, session="laptop")
    assert gone is not None
    assert gone.after.status is OFFLINE


def test_weaker_session_is_shown_after_stronger_ends(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, session="laptop", status_msg="пишу")
    city.record_heartbeat(OKSANA, now_ms=30_000, session="phone", status=AWAY)

    (weaker,) = city.expire(now_ms=40_000)

    assert (weaker.before.status, weaker.after.status) == (ONLINE, AWAY)
    assert weaker.after.status_msg == "пишу"


@pytest.mark.parametrize(
    ("status_msg", "shown"),
    [(KEEP, "before"), (None, None), ("", ""), ("after", "after")],
    ids=["left out", "cleared", "empty", "new"],
)
def test_omitted_status_text_is_kept(city: Presence, status_msg: str | KeepCurrent | None, shown: str | None) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, status_msg="before")
    changed = city.record_heartbeat(OKSANA, now_ms=1, status_msg=status_msg)
    assert city.state(OKSANA).status_msg == shown
    assert (changed is None) == (shown == "before")


def test_status_text_ends_with_last_session(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, status_msg="слухаю")
    city.expire(now_ms=TTL_MS)
    assert city.state(OKSANA).status_msg is None
    city.record_heartbeat(OKSANA, now_ms=50_000)
    assert city.state(OKSANA).status_msg is None


def test_leave_may_set_status_text(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0)
    city.record_heartbeat(OKSANA, now_ms=1, status=OFFLINE, status_msg="до завтра")
    assert city.state(OKSANA) == PresenceState(OFFLINE, "до завтра", 0)


def test_unknown_subject_cannot_leave(city: Presence) -> None:
    assert city.record_heartbeat(OKSANA, now_ms=0, status=OFFLINE, status_msg="bye") is None
    assert city.set_remote(ALICE, status=OFFLINE, status_msg=None, last_active_ms=7, session="matrix") is None
    assert city.state(OKSANA) == city.state(ALICE) == PresenceState()
    assert city.next_deadline_ms is None


def test_being_away_is_no_activity(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=5)
    city.record_heartbeat(OKSANA, now_ms=10, status=AWAY)
    assert city.state(OKSANA).last_active_ms == 5


def test_remote_presence_lasts_until_changed(city: Presence) -> None:
    city.set_remote(ALICE, status=ONLINE, status_msg="hi", last_active_ms=5, session="matrix")

    assert city.next_deadline_ms is None
    assert city.expire(now_ms=1 << 50) == []
    assert city.state(ALICE) == PresenceState(ONLINE, "hi", 5)
    assert city.set_remote(ALICE, status=ONLINE, status_msg="hi", last_active_ms=9, session="matrix") is None
    assert city.state(ALICE).last_active_ms == 9
    gone = city.set_remote(ALICE, status=OFFLINE, status_msg=None, last_active_ms=None, session="matrix")
    assert gone is not None
    assert gone.after.status is OFFLINE


def test_remote_activity_never_goes_back(city: Presence) -> None:
    city.set_remote(ALICE, status=ONLINE, status_msg=None, last_active_ms=9, session="matrix")
    city.set_remote(ALICE, status=ONLINE, status_msg=None, last_active_ms=5, session="matrix")
    assert city.state(ALICE).last_active_ms == 9


def test_heartbeats_do_not_pile_up(city: Presence) -> None:
    for now_ms in range(0, 3_600_000, 20_000):
        city.record_heartbeat(OKSANA, now_ms=now_ms)
        city.expire(now_ms=now_ms)
        assert queued(city) == 1


def test_ended_sessions_do_not_accumulate(city: Presence) -> None:
    most = 0
    for number, now_ms in enumerate(range(0, 3_600_000, 1_000)):
        city.record_heartbeat(OKSANA, now_ms=now_ms, session=f"tab {number % 7}")
        city.record_heartbeat(OKSANA, now_ms=now_ms + 1, session=f"tab {number % 7}", status=OFFLINE)
        city.record_heartbeat(OKSANA, now_ms=now_ms, session=f"page {number}")
        city.record_heartbeat(ALICE, now_ms=now_ms, session="reloads", status=OFFLINE)
        city.record_heartbeat(ALICE, now_ms=now_ms, session="reloads")
        city.expire(now_ms=now_ms)
        most = max(most, queued(city))
    assert most <= 3 * TTL_MS // 1_000, "an entry is gone when its deadline is, whatever became of its session"
    city.expire(now_ms=10**9)
    assert queued(city) == 0


def test_session_limit_replaces_oldest(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, session="oldest")
    for number in range(MAX_SESSIONS - 1):
        city.record_heartbeat(OKSANA, now_ms=1, status=AWAY, session=str(number))
    assert city.state(OKSANA).status is ONLINE

    weaker = city.record_heartbeat(OKSANA, now_ms=2, status=AWAY, session="one more")

    assert weaker is not None
    assert weaker.after.status is AWAY
    assert city.record_heartbeat(OKSANA, now_ms=3, status=AWAY, session="one more") is None
    (gone,) = city.expire(now_ms=10**9)
    assert gone.after.status is OFFLINE


def test_renewed_session_expires_by_new_heartbeats(city: Presence) -> None:
    city.record_heartbeat(OKSANA, now_ms=0, session="tab")
    city.record_heartbeat(OKSANA, now_ms=1, session="tab", status=OFFLINE)
    city.record_heartbeat(OKSANA, now_ms=30_000, session="tab")
    assert city.expire(now_ms=40_000) == []
    assert city.state(OKSANA).status is ONLINE
    assert len(city.expire(now_ms=70_000)) == 1


# --- random days --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beat:
    """A session's sign of life, or its goodbye."""

    subject: SubjectId
    session: str
    status: Status
    status_msg: str | KeepCurrent | None


@dataclass(frozen=True)
class Place:
    """Set the presence of a Matrix user."""

    subject: SubjectId
    session: str
    status: Status
    status_msg: str | None


@dataclass(frozen=True)
class Pass:
    """Advance the clock and expire sessions."""

    ms: int


Step = Beat | Place | Pass


@dataclass
class Notebook:
    """A model of the state machine that recomputes everything."""

    until_ms: dict[tuple[SubjectId, str], int | None] = field(default_factory=dict)
    """When each session ends; None for one that no clock ends."""
    statuses: dict[tuple[SubjectId, str], Status] = field(default_factory=dict)
    texts: dict[SubjectId, str | None] = field(default_factory=dict)
    active_ms: dict[SubjectId, int] = field(default_factory=dict)
    seen: set[SubjectId] = field(default_factory=set)

    def note(self, step: Beat | Place, now_ms: int) -> None:
        subject, key = step.subject, (step.subject, step.session)
        text = None if isinstance(step, Place) and step.status is OFFLINE else step.status_msg
        if step.status is OFFLINE:
            self._end(key, None if isinstance(text, KeepCurrent) else text)
            return
        self.seen.add(subject)
        self.statuses[key] = step.status
        self.until_ms[key] = now_ms + TTL_MS if isinstance(step, Beat) else None
        if not isinstance(text, KeepCurrent):
            self.texts[subject] = text
        if isinstance(step, Place) or step.status is ONLINE:
            self.active_ms[subject] = now_ms

    def pass_time(self, now_ms: int) -> None:
        for key in [key for key, until_ms in self.until_ms.items() if until_ms is not None and until_ms <= now_ms]:
            self._end(key, None)

    def _end(self, key: tuple[SubjectId, str], text: str | None) -> None:
        self.statuses.pop(key, None)
        self.until_ms.pop(key, None)
        if key[0] in self.seen and not any(subject == key[0] for subject, _ in self.statuses):
            self.texts[key[0]] = text

    def shown(self, subject: SubjectId) -> PresenceState:
        statuses = [status for (whose, _), status in self.statuses.items() if whose == subject]
        status = ONLINE if ONLINE in statuses else AWAY if AWAY in statuses else OFFLINE
        return PresenceState(status, self.texts.get(subject), self.active_ms.get(subject))


SUBJECTS = st.sampled_from([OKSANA, ALICE, SubjectId("agent:daarwizz")])
SESSIONS = st.sampled_from(["", "a", "b"])
TEXTS = st.sampled_from([None, "one", "two"])
STEPS = st.one_of(
    st.builds(Beat, SUBJECTS, SESSIONS, st.sampled_from(Status), TEXTS | st.just(KEEP)),
    st.builds(Place, SUBJECTS, SESSIONS, st.sampled_from(Status), TEXTS),
    st.builds(Pass, st.sampled_from([0, 1, 500, 10_000, 19_999, TTL_MS - 1, TTL_MS, TTL_MS + 1])),
)


@given(st.lists(STEPS, max_size=40))
def test_random_operations_show_strongest_session(day: list[Step]) -> None:
    city, notebook, now_ms = Presence(ttl_ms=TTL_MS), Notebook(), 0
    for step in day:
        before = {subject: notebook.shown(subject) for subject in notebook.seen}
        changed: set[SubjectId] = set()
        match step:
            case Pass():
                now_ms += step.ms
                notebook.pass_time(now_ms)
                changed = {each.subject for each in city.expire(now_ms=now_ms)}
            case Beat():
                notebook.note(step, now_ms)
                beaten = city.record_heartbeat(
                    step.subject, now_ms=now_ms, status=step.status, status_msg=step.status_msg, session=step.session
                )
                changed = {beaten.subject} if beaten else set()
            case Place():
                notebook.note(step, now_ms)
                placed = city.set_remote(
                    step.subject,
                    status=step.status,
                    status_msg=step.status_msg,
                    last_active_ms=now_ms,
                    session=step.session,
                )
                changed = {placed.subject} if placed else set()
        after = {subject: notebook.shown(subject) for subject in notebook.seen}
        assert {subject: city.state(subject) for subject in after} == after
        assert changed == {
            subject
            for subject, shown in after.items()
            if (shown.status, shown.status_msg) != _look(before.get(subject, PresenceState()))
        }, "whoever is shown differently is told of, and nobody else"
        next_end_ms = min((ms for ms in notebook.until_ms.values() if ms is not None), default=None)
        assert next_end_ms is None or (city.next_deadline_ms or 0) <= next_end_ms, "nobody's end is slept through"
        assert next_end_ms is None or city.next_deadline_ms is not None


def _look(shown: PresenceState) -> tuple[Status, str | None]:
    return shown.status, shown.status_msg
