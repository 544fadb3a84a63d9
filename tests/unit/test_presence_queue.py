"""Whom the homeserver is told of next."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daarion_appservice.city.presence import Status
from daarion_appservice.city.types import UserId
from daarion_appservice.matrix.client.profile_fields import _fields
from daarion_appservice.matrix.ghosts.status_text import FIELD
from daarion_appservice.matrix.presence.queue import DesiredPresence, PresenceQueue
from daarion_appservice.matrix.presence.refreshes import RefreshSchedule
from daarion_appservice.matrix.presence.timeout_probe import period_ms

NOW_MS = 1_700_000_000_000
PERIOD_MS = 20_000
ONLINE, AWAY, OFFLINE = (DesiredPresence(status, None) for status in Status)
A, B, C = (UserId(f"@agent_{name}:city.localhost") for name in "abc")


def running(*users: UserId) -> PresenceQueue:
    """A plan by which these were told to be online just now."""
    plan = PresenceQueue(period_ms=PERIOD_MS)
    plan.begin(NOW_MS)
    for user in users:
        plan.put(user, ONLINE, NOW_MS)
        assert plan.take(NOW_MS) == user
        plan.mark_sent(user, ONLINE, NOW_MS)
    return plan


def take_all(plan: PresenceQueue, now_ms: int) -> list[UserId]:
    taken = []
    while (user := plan.take(now_ms)) is not None:
        taken.append(user)
    return taken


# --- changes ------------------------------------------------------------------------------------------


def test_changes_are_told_in_their_order_and_each_once_with_what_is_newest() -> None:
    plan = running()
    plan.put(A, ONLINE, NOW_MS)
    plan.put(B, ONLINE, NOW_MS)
    plan.put(A, AWAY, NOW_MS)
    assert take_all(plan, NOW_MS) == [A, B]
    assert plan.wishes[A] == AWAY


def test_who_changes_while_being_told_of_is_told_again_after_that() -> None:
    plan = running()
    plan.put(A, ONLINE, NOW_MS)
    assert plan.take(NOW_MS) == A
    plan.put(A, OFFLINE, NOW_MS)
    assert plan.take(NOW_MS) is None
    plan.mark_sent(A, ONLINE, NOW_MS)
    assert plan.take(NOW_MS) == A
    plan.mark_sent(A, OFFLINE, NOW_MS)
    assert (plan.wishes, plan.due_ms) == ({}, None)


def test_what_did_not_work_is_tried_again_after_a_while_and_what_was_too_much_as_soon_as_may_be() -> None:
    plan = running()
    plan.put(A, ONLINE, NOW_MS)
    assert plan.take(NOW_MS) == A
    plan.failed(A, NOW_MS)
    assert plan.take(NOW_MS) is None
    assert plan.due_ms == NOW_MS + 2_000
    assert plan.take(NOW_MS + 2_000) == A
    plan.limited(A)
    assert plan.take(NOW_MS + 2_000) == A


def test_who_failed_and_then_went_offline_leaves_nothing_behind() -> None:
    plan = running()
    plan.put(A, ONLINE, NOW_MS)
    assert plan.take(NOW_MS) == A
    plan.failed(A, NOW_MS)
    plan.put(A, OFFLINE, NOW_MS)
    assert plan.take(NOW_MS) == A
    plan.mark_sent(A, OFFLINE, NOW_MS)
    assert take_all(plan, NOW_MS + 60_000) == []


def test_a_subject_without_a_ghost_is_told_of_once_there_is_one() -> None:
    plan = running()
    plan.put(A, ONLINE, NOW_MS)
    plan.put(B, OFFLINE, NOW_MS)
    assert take_all(plan, NOW_MS) == [A, B]
    plan.unknown(A)
    plan.unknown(B)
    assert plan.wishes == {A: ONLINE}
    plan.requeue(A)
    plan.requeue(B)
    assert take_all(plan, NOW_MS) == [A]


# --- refreshes ----------------------------------------------------------------------------------------


def test_changes_come_first_and_take_turns_with_refreshes_whose_period_is_over() -> None:
    plan = running(A, B)
    plan.put(C, ONLINE, NOW_MS)
    assert plan.take(NOW_MS + PERIOD_MS - 1) == C
    plan.mark_sent(C, ONLINE, NOW_MS + PERIOD_MS - 1)

    many = [UserId(f"@agent_{number}:city.localhost") for number in range(6)]
    for user in many:
        plan.put(user, ONLINE, NOW_MS + PERIOD_MS)
    assert take_all(plan, NOW_MS + PERIOD_MS) == [A, many[0], B, *many[1:]]


@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_who_came_all_at_once_spreads_out_over_the_period(count: int) -> None:
    refreshes = RefreshSchedule(period_ms=PERIOD_MS)
    users = [UserId(f"@agent_{number}:city.localhost") for number in range(count)]
    for user in users:
        refreshes.mark_sent(user, NOW_MS)
    told_ms, seconds = dict.fromkeys(users, NOW_MS), Counter[int]()
    for now_ms in range(NOW_MS, NOW_MS + 10 * PERIOD_MS, 5):
        while (due := refreshes.take(now_ms)) is not None:
            assert PERIOD_MS // 2 <= now_ms - told_ms[due] <= PERIOD_MS
            refreshes.mark_sent(due, now_ms)
            told_ms[due] = now_ms
            seconds[(now_ms - NOW_MS) // 1000] += 1
    last = [seconds[second] for second in range(180, 200)]
    assert max(last) <= max(1, 1.2 * count * 1000 / PERIOD_MS)
    assert abs(sum(last) - count) <= max(1, 0.2 * count)


def test_it_is_known_when_the_homeserver_may_have_forgotten_somebody() -> None:
    refreshes = RefreshSchedule(period_ms=PERIOD_MS)
    assert not refreshes.are_too_late(NOW_MS)
    refreshes.at_once(A)
    assert not refreshes.are_too_late(NOW_MS), "nothing was told of A that could be forgotten"
    refreshes.mark_sent(A, NOW_MS)
    assert not refreshes.are_too_late(NOW_MS + PERIOD_MS)
    assert refreshes.are_too_late(NOW_MS + PERIOD_MS * 3 // 2)


# --- while somebody else tells the homeserver ---------------------------------------------------------


def test_at_each_beginning_everybody_is_told_anew() -> None:
    plan = running(A, B)
    plan.rest()
    plan.put(C, ONLINE, NOW_MS)
    plan.put(A, OFFLINE, NOW_MS)
    plan.begin(NOW_MS)
    assert sorted(take_all(plan, NOW_MS)) == [A, B, C]


def test_who_left_two_minutes_ago_or_longer_is_no_longer_told_of() -> None:
    plan = running(A, B, C)
    plan.rest()
    plan.put(A, OFFLINE, NOW_MS)
    plan.put(B, OFFLINE, NOW_MS)
    plan.put(B, ONLINE, NOW_MS + 1)
    plan.put(C, OFFLINE, NOW_MS + 120_001)
    assert plan.wishes == {B: ONLINE, C: OFFLINE}
    plan.begin(NOW_MS + 240_002)
    assert take_all(plan, NOW_MS + 240_002) == [B]


# --- against a model ----------------------------------------------------------------------------------


class AnyPlan(RuleBasedStateMachine):
    """Whatever happens, in whichever order: the homeserver ends up with what is wished, and nobody is told of twice at a time."""

    users = st.sampled_from([A, B, C])

    def __init__(self) -> None:
        super().__init__()
        self.plan = PresenceQueue(period_ms=PERIOD_MS)
        self.now_ms = NOW_MS
        self.wished: dict[UserId, DesiredPresence] = {}
        self.shown: dict[UserId, DesiredPresence] = {}
        self.under_way: dict[UserId, DesiredPresence] = {}
        self.rests = True

    @rule(user=users, wish=st.sampled_from([ONLINE, AWAY, OFFLINE]))
    def wish(self, user: UserId, wish: DesiredPresence) -> None:
        self.plan.put(user, wish, self.now_ms)
        self.wished[user] = wish

    @rule(pause_ms=st.sampled_from([1, 500, 2_000, PERIOD_MS // 2, PERIOD_MS, 130_000]))
    def time_passes(self, pause_ms: int) -> None:
        self.now_ms += pause_ms

    @precondition(lambda self: not self.rests)
    @rule()
    def take(self) -> None:
        user = self.plan.take(self.now_ms)
        if user is not None:
            assert user not in self.under_way
            self.under_way[user] = self.plan.wishes[user]

    @precondition(lambda self: self.under_way)
    @rule(outcome=st.sampled_from(["told", "told", "failed", "limited"]), which=st.integers(0, 2))
    def ends(self, outcome: str, which: int) -> None:
        user = list(self.under_way)[which % len(self.under_way)]
        wish = self.under_way.pop(user)
        if outcome == "told":
            self.plan.mark_sent(user, wish, self.now_ms)
            self.shown[user] = wish
        elif outcome == "failed":
            self.plan.failed(user, self.now_ms)
        else:
            self.plan.limited(user)

    @rule()
    def homeserver_forgets(self) -> None:
        self.plan.requeue_all()
        self.shown.clear()

    @rule()
    def begins_or_rests(self) -> None:
        self.under_way.clear()
        if self.rests:
            self.plan.begin(self.now_ms)
        else:
            self.plan.rest()
        self.rests = not self.rests

    @invariant()
    def wishes_are_the_newest(self) -> None:
        for user, wish in self.wished.items():
            assert self.plan.wishes.get(user, OFFLINE) == wish

    def teardown(self) -> None:
        if self.rests:
            return
        for user, wish in self.under_way.items():
            self.plan.mark_sent(user, wish, self.now_ms)
        self.now_ms += PERIOD_MS
        told = []
        while (due := self.plan.take(self.now_ms)) is not None:
            told.append(due)
            self.plan.mark_sent(due, self.plan.wishes[due], self.now_ms)
        assert len(told) == len(set(told)), "nobody stands in a queue twice"
        here = {user for user, wish in self.wished.items() if wish is not OFFLINE}
        assert here <= set(told), "within a period everybody is told of again"
        assert set(self.plan.wishes) == here
        assert len(self.plan.refreshes) == len(here)


TestAnyPlan = AnyPlan.TestCase
TestAnyPlan.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


# --- tables -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held_s", "period_s"),
    [
        (0, 22),  # presence is off, or the timeout very short: what is safe by default
        (30, 22),
        (42, 22),  # Synapse's 30 s at their coarsest
        (75, 42),
        (87.5, 50),
        (90, 50),  # longer was not waited
    ],
)
def test_the_period_follows_from_how_long_a_presence_was_held(held_s: float, period_s: float) -> None:
    assert period_ms(int(held_s * 1000)) == period_s * 1000


@pytest.mark.parametrize(
    ("capabilities", "features", "fields"),
    [
        ({"m.profile_fields": {"enabled": True}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": ["displayname"]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": [FIELD]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": ["displayname"]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": [FIELD]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
        ({"m.profile_fields": "yes"}, {}, "NONE"),
        ({}, {}, "NONE"),
        ({}, {"uk.tcpip.msc4133": True}, "UNSTABLE"),
        ({}, {"uk.tcpip.msc4133": True, "uk.tcpip.msc4133.stable": True}, "STABLE"),
        ({"uk.tcpip.msc4133.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
    ],
)
def test_whether_a_homeserver_takes_status_texts_is_read_from_what_it_says(
    capabilities: dict[str, object], features: dict[str, object], fields: str
) -> None:
    assert _fields(FIELD, capabilities, features).name == fields
