"""The presence queue: which ghost is sent next, and what happens after failed requests."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daarion_appservice.city.presence import Status
from daarion_appservice.city.types import UserId
from daarion_appservice.matrix.presence.queue import DesiredPresence, PresenceQueue, RefreshSchedule
from daarion_appservice.matrix.presence.timeout_probe import period_ms

NOW_MS = 1_700_000_000_000
PERIOD_MS = 20_000
ONLINE, AWAY, OFFLINE = (DesiredPresence(status, None) for status in Status)
A, B, C = (UserId(f"@agent_{name}:city.localhost") for name in "abc")


def active_queue(*users: UserId) -> PresenceQueue:
    """Return an active queue in which these ghosts were just sent as online."""
    queue = PresenceQueue(period_ms=PERIOD_MS)
    queue.activate(NOW_MS)
    for user in users:
        queue.put(user, ONLINE, NOW_MS)
        assert queue.take(NOW_MS) == user
        queue.mark_sent(user, ONLINE, NOW_MS)
    return queue


def take_all(queue: PresenceQueue, now_ms: int) -> list[UserId]:
    taken = []
    while (user := queue.take(now_ms)) is not None:
        taken.append(user)
    return taken


# --- changes ------------------------------------------------------------------------------------------


def test_changes_are_taken_in_order_with_newest_state() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    queue.put(B, ONLINE, NOW_MS)
    queue.put(A, AWAY, NOW_MS)
    assert take_all(queue, NOW_MS) == [A, B]
    assert queue.desired[A] == AWAY


def test_change_during_request_is_taken_afterwards() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.put(A, OFFLINE, NOW_MS)
    assert queue.take(NOW_MS) is None
    queue.mark_sent(A, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.mark_sent(A, OFFLINE, NOW_MS)
    assert (queue.desired, queue.due_ms) == ({}, None)


def test_accepted_change_returns_its_delay() -> None:
    queue = active_queue(A)
    queue.put(A, AWAY, NOW_MS + 1_000)
    queue.put(A, ONLINE, NOW_MS + 3_000)
    queue.put(A, AWAY, NOW_MS + 4_000)
    assert queue.take(NOW_MS + 5_000) == A
    queue.put(A, ONLINE, NOW_MS + 6_000)
    assert queue.mark_sent(A, AWAY, NOW_MS + 7_000) is None, "it has changed again"
    assert queue.take(NOW_MS + 8_000) == A
    assert queue.mark_sent(A, ONLINE, NOW_MS + 9_000) == 8_000, "since the first change that was not accepted"
    assert queue.mark_sent(A, ONLINE, NOW_MS + 30_000) is None, "a refresh"


def test_unregistered_ghost_has_no_delay() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.mark_unregistered(A)
    queue.requeue(A)
    assert queue.take(NOW_MS + 60_000) == A
    assert queue.mark_sent(A, ONLINE, NOW_MS + 60_000) is None


def test_sizes_count_ghosts_by_queue() -> None:
    queue = active_queue(A)
    queue.put(B, ONLINE, NOW_MS)
    queue.put(C, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == B
    assert queue.sizes == {"changes": 1, "retries": 0, "refreshes": 1, "in_flight": 1}
    queue.mark_failed(B, NOW_MS)
    assert queue.sizes == {"changes": 1, "retries": 1, "refreshes": 1, "in_flight": 0}


def test_failed_request_waits_rate_limited_does_not() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.mark_failed(A, NOW_MS)
    assert queue.take(NOW_MS) is None
    assert queue.due_ms == NOW_MS + 2_000
    assert queue.take(NOW_MS + 2_000) == A
    queue.mark_rate_limited(A)
    assert queue.take(NOW_MS + 2_000) == A


def test_retry_is_dropped_when_offline_is_sent() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.mark_failed(A, NOW_MS)
    queue.put(A, OFFLINE, NOW_MS)
    assert queue.take(NOW_MS) == A
    queue.mark_sent(A, OFFLINE, NOW_MS)
    assert take_all(queue, NOW_MS + 60_000) == []


def test_unregistered_ghost_is_taken_after_requeue() -> None:
    queue = active_queue()
    queue.put(A, ONLINE, NOW_MS)
    queue.put(B, OFFLINE, NOW_MS)
    assert take_all(queue, NOW_MS) == [A, B]
    queue.mark_unregistered(A)
    queue.mark_unregistered(B)
    assert queue.desired == {A: ONLINE}
    queue.requeue(A)
    queue.requeue(B)
    assert take_all(queue, NOW_MS) == [A]


# --- refreshes ----------------------------------------------------------------------------------------


def test_changes_alternate_with_overdue_refreshes() -> None:
    queue = active_queue(A, B)
    queue.put(C, ONLINE, NOW_MS)
    assert queue.take(NOW_MS + PERIOD_MS - 1) == C
    queue.mark_sent(C, ONLINE, NOW_MS + PERIOD_MS - 1)

    many = [UserId(f"@agent_{number}:city.localhost") for number in range(6)]
    for user in many:
        queue.put(user, ONLINE, NOW_MS + PERIOD_MS)
    assert take_all(queue, NOW_MS + PERIOD_MS) == [A, many[0], B, *many[1:]]


@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_simultaneous_ghosts_spread_over_the_period(count: int) -> None:
    refreshes = RefreshSchedule(period_ms=PERIOD_MS)
    users = [UserId(f"@agent_{number}:city.localhost") for number in range(count)]
    for user in users:
        refreshes.mark_sent(user, NOW_MS)
    sent_ms, seconds = dict.fromkeys(users, NOW_MS), Counter[int]()
    for now_ms in range(NOW_MS, NOW_MS + 10 * PERIOD_MS, 5):
        while (due := refreshes.take(now_ms)) is not None:
            assert PERIOD_MS // 2 <= now_ms - sent_ms[due] <= PERIOD_MS
            refreshes.mark_sent(due, now_ms)
            sent_ms[due] = now_ms
            seconds[(now_ms - NOW_MS) // 1000] += 1
    last = [seconds[second] for second in range(180, 200)]
    assert max(last) <= max(1, 1.2 * count * 1000 / PERIOD_MS)
    assert abs(sum(last) - count) <= max(1, 0.2 * count)


def test_late_refresh_may_have_timed_out() -> None:
    refreshes = RefreshSchedule(period_ms=PERIOD_MS)
    assert not refreshes.may_have_timed_out(NOW_MS)
    refreshes.make_due(A)
    assert not refreshes.may_have_timed_out(NOW_MS), "the homeserver has no presence of A that could time out"
    refreshes.mark_sent(A, NOW_MS)
    assert not refreshes.may_have_timed_out(NOW_MS + PERIOD_MS)
    assert refreshes.may_have_timed_out(NOW_MS + PERIOD_MS * 3 // 2)


# --- while another process is the leader --------------------------------------------------------------


def test_activation_queues_every_ghost() -> None:
    queue = active_queue(A, B)
    queue.deactivate()
    queue.put(C, ONLINE, NOW_MS)
    queue.put(A, OFFLINE, NOW_MS)
    queue.activate(NOW_MS)
    assert sorted(take_all(queue, NOW_MS)) == [A, B, C]


def test_offline_change_of_inactive_queue_expires() -> None:
    queue = active_queue(A, B, C)
    queue.deactivate()
    queue.put(A, OFFLINE, NOW_MS)
    queue.put(B, OFFLINE, NOW_MS)
    queue.put(B, ONLINE, NOW_MS + 1)
    queue.put(C, OFFLINE, NOW_MS + 120_001)
    assert queue.desired == {B: ONLINE, C: OFFLINE}
    queue.activate(NOW_MS + 240_002)
    assert take_all(queue, NOW_MS + 240_002) == [B]


# --- against a model ----------------------------------------------------------------------------------


class QueueModel(RuleBasedStateMachine):
    """In every order of calls, the homeserver gets the desired presence, and a ghost has one request in flight at most."""

    users = st.sampled_from([A, B, C])

    def __init__(self) -> None:
        super().__init__()
        self.queue = PresenceQueue(period_ms=PERIOD_MS)
        self.now_ms = NOW_MS
        self.expected: dict[UserId, DesiredPresence] = {}
        self.shown: dict[UserId, DesiredPresence] = {}
        self.in_flight: dict[UserId, DesiredPresence] = {}
        self.is_inactive = True

    @rule(user=users, presence=st.sampled_from([ONLINE, AWAY, OFFLINE]))
    def change(self, user: UserId, presence: DesiredPresence) -> None:
        self.queue.put(user, presence, self.now_ms)
        self.expected[user] = presence

    @rule(pause_ms=st.sampled_from([1, 500, 2_000, PERIOD_MS // 2, PERIOD_MS, 130_000]))
    def time_passes(self, pause_ms: int) -> None:
        self.now_ms += pause_ms

    @precondition(lambda self: not self.is_inactive)
    @rule()
    def take(self) -> None:
        user = self.queue.take(self.now_ms)
        if user is not None:
            assert user not in self.in_flight
            self.in_flight[user] = self.queue.desired[user]

    @precondition(lambda self: self.in_flight)
    @rule(outcome=st.sampled_from(["accepted", "accepted", "failed", "rate limited"]), which=st.integers(0, 2))
    def complete_request(self, outcome: str, which: int) -> None:
        user = list(self.in_flight)[which % len(self.in_flight)]
        sent = self.in_flight.pop(user)
        if outcome == "accepted":
            self.queue.mark_sent(user, sent, self.now_ms)
            self.shown[user] = sent
        elif outcome == "failed":
            self.queue.mark_failed(user, self.now_ms)
        else:
            self.queue.mark_rate_limited(user)

    @rule()
    def homeserver_drops_presences(self) -> None:
        self.queue.requeue_all()
        self.shown.clear()

    @rule()
    def change_leader(self) -> None:
        self.in_flight.clear()
        if self.is_inactive:
            self.queue.activate(self.now_ms)
        else:
            self.queue.deactivate()
        self.is_inactive = not self.is_inactive

    @invariant()
    def desired_presence_is_the_newest(self) -> None:
        for user, presence in self.expected.items():
            assert self.queue.desired.get(user, OFFLINE) == presence

    def teardown(self) -> None:
        if self.is_inactive:
            return
        for user, presence in self.in_flight.items():
            self.queue.mark_sent(user, presence, self.now_ms)
        self.now_ms += PERIOD_MS
        sent = []
        while (due := self.queue.take(self.now_ms)) is not None:
            sent.append(due)
            self.queue.mark_sent(due, self.queue.desired[due], self.now_ms)
        assert len(sent) == len(set(sent)), "a ghost is in the queue at most once"
        present = {user for user, presence in self.expected.items() if presence is not OFFLINE}
        assert present <= set(sent), "every present ghost is sent within a period"
        assert set(self.queue.desired) == present
        assert len(self.queue.refreshes) == len(present)


TestQueueModel = QueueModel.TestCase
TestQueueModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


# --- timeout -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout_s", "period_s"),
    [
        (0, 22),  # presence is switched off, or the timeout is very short: the default period
        (30, 22),
        (42, 22),  # Synapse's default of 30 s with the maximum error
        (75, 42),
        (87.5, 50),
        (90, 50),  # the maximum of the measurement
    ],
)
def test_refresh_period_follows_from_measured_timeout(timeout_s: float, period_s: float) -> None:
    assert period_ms(int(timeout_s * 1000)) == period_s * 1000
