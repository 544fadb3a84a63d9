"""How many requests a second: what makes it more, what makes it less, and that it never is more than may be."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.matrix.presence.rate import AdaptiveRateLimiter

USUAL_S = 0.003
MOST = 300.0
IN_FLIGHT = 4


class Homeserver:
    """Takes ``capacity`` requests a second and lets the others wait; nothing of it is real but the arithmetic."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self._free_at_s = 0.0

    def answer_s(self, now_s: float) -> float:
        """How long a request takes that comes now."""
        self._free_at_s = max(self._free_at_s, now_s) + 1 / self.capacity
        return USUAL_S + self._free_at_s - now_s


def send(budget: AdaptiveRateLimiter, took_s: Callable[[float], float], *, from_s: float, for_s: float) -> list[float]:
    """Send whenever the budget allows, four requests at a time at most; returns when."""
    sent, now_s, answers = list[float](), from_s, list[tuple[float, float]]()
    while now_s < from_s + for_s:
        while answers and answers[0][0] <= now_s:
            budget.answered(heapq.heappop(answers)[1], now_s)
        if wait_s := budget.wait_s(now_s):
            now_s += wait_s
        elif len(answers) == IN_FLIGHT:
            now_s = answers[0][0]
        else:
            budget.spend(now_s)
            sent.append(now_s)
            took = took_s(now_s)
            heapq.heappush(answers, (now_s + took, took))
    return sent


def test_a_first_request_never_waits() -> None:
    assert AdaptiveRateLimiter(most_per_s=1).wait_s(0.0) == 0


def test_on_a_homeserver_that_has_room_it_grows_to_what_may_be_sent_at_most() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    sent = send(budget, lambda _: USUAL_S, from_s=0, for_s=10)
    assert budget.per_s == MOST
    assert len([at_s for at_s in sent if at_s >= 9]) == pytest.approx(MOST, rel=0.02)


@pytest.mark.parametrize("capacity", [20, 80, 250])
def test_a_homeserver_that_can_take_less_is_used_well_and_nobody_waits_long_in_it(capacity: float) -> None:
    budget, homeserver = AdaptiveRateLimiter(most_per_s=1_000), Homeserver(capacity)
    waits = list[float]()

    def took_s(now_s: float) -> float:
        waits.append(homeserver.answer_s(now_s))
        return waits[-1]

    sent = send(budget, took_s, from_s=0, for_s=60)
    assert 0.5 * capacity < len(sent) / 60 <= 1.02 * capacity
    assert statistics.median(waits[len(waits) // 2 :]) < USUAL_S + 1 / capacity + 0.05


def test_answers_that_take_longer_than_usual_slow_it_down_at_once_and_their_end_lets_it_grow_again() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    send(budget, lambda _: USUAL_S, from_s=0, for_s=10)
    send(budget, lambda _: 0.5, from_s=10, for_s=3)
    assert budget.per_s < MOST / 2
    send(budget, lambda _: USUAL_S, from_s=13, for_s=20)
    assert budget.per_s == MOST


def test_what_takes_long_because_it_is_far_away_is_usual_there() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    before = budget.per_s
    sent = send(budget, lambda _: 0.2, from_s=0, for_s=20)
    assert len(sent) == pytest.approx(20 * IN_FLIGHT / 0.2, rel=0.02)
    assert budget.per_s == before, "no reason to slow down, and none to allow more than is used"


def test_a_homeserver_that_became_slower_for_good_is_not_held_to_what_it_once_was() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    send(budget, lambda _: USUAL_S, from_s=0, for_s=10)
    send(budget, lambda _: 0.1, from_s=10, for_s=20)
    assert budget.per_s < 20
    send(budget, lambda _: 0.1, from_s=30, for_s=60)
    assert budget.per_s > 30


def test_it_does_not_grow_while_little_is_sent() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    before = budget.per_s
    for second in range(1_000):
        budget.spend(second)
        budget.answered(USUAL_S, second)
    assert budget.per_s == before


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(0.0, 0.0), (2.5, 2.5), (3_600.0, 60.0)])
def test_after_a_429_nothing_is_sent_before_the_homeserver_wants_it(retry_after_s: float, waits_s: float) -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    before = budget.per_s
    budget.spend(10.0)
    budget.limited(retry_after_s, 10.0)
    assert budget.wait_s(10.0) == pytest.approx(waits_s)
    assert budget.per_s == before / 2


def test_many_bad_answers_at_the_same_time_count_once_and_there_is_always_a_little_left() -> None:
    budget = AdaptiveRateLimiter(most_per_s=MOST)
    before = budget.per_s
    for _ in range(100):
        budget.unanswered(10.0)
    assert budget.per_s == before / 2
    for second in range(11, 100):
        budget.unanswered(second)
    assert budget.per_s == 10


def test_the_most_may_be_less_than_the_least() -> None:
    budget = AdaptiveRateLimiter(most_per_s=1)
    budget.unanswered(10.0)
    assert budget.per_s == 1


@given(
    most=st.floats(1, 1_000),
    steps=st.lists(
        st.tuples(st.floats(0, 0.2), st.sampled_from(["send", "slow", "fast", "limited", "lost"])), max_size=300
    ),
)
def test_never_more_than_the_most_is_sent_in_any_stretch_of_time(most: float, steps: list[tuple[float, str]]) -> None:
    budget, now_s, sent = AdaptiveRateLimiter(most_per_s=most), 0.0, list[float]()
    for pause_s, step in steps:
        now_s += pause_s
        if step == "send" and not budget.wait_s(now_s):
            budget.spend(now_s)
            sent.append(now_s)
        elif step == "limited":
            budget.limited(0.1, now_s)
        elif step == "lost":
            budget.unanswered(now_s)
        elif step != "send":
            budget.answered(1.0 if step == "slow" else USUAL_S, now_s)
        assert min(10.0, most) <= budget.per_s <= most
    for first, at_s in enumerate(sent):
        for last in range(first, len(sent)):
            stretch_s = sent[last] - at_s
            # What was saved up, what the stretch allows, and the one that began it.
            assert last - first + 1 <= (0.1 + stretch_s) * most + 1 + 1e-6
