"""The adaptive rate limiter: what increases the rate, what reduces it, and that it stays below the maximum."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.matrix.presence.rate import AdaptiveRateLimiter

USUAL_S = 0.003
MAX_PER_S = 300.0
IN_FLIGHT = 4


class Homeserver:
    """A simulated homeserver that serves ``capacity`` requests per second; the others wait in its queue."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self._free_at_s = 0.0

    def response_s(self, now_s: float) -> float:
        """Return the response time (s) of a request that arrives now."""
        self._free_at_s = max(self._free_at_s, now_s) + 1 / self.capacity
        return USUAL_S + self._free_at_s - now_s


def send(rate: AdaptiveRateLimiter, took_s: Callable[[float], float], *, from_s: float, for_s: float) -> list[float]:
    """Send whenever the rate allows, with at most ``IN_FLIGHT`` concurrent requests; return the times (s)."""
    sent, now_s, responses = list[float](), from_s, list[tuple[float, float]]()
    while now_s < from_s + for_s:
        while responses and responses[0][0] <= now_s:
            rate.record_response(heapq.heappop(responses)[1], now_s)
        if wait_s := rate.wait_s(now_s):
            now_s += wait_s
        elif len(responses) == IN_FLIGHT:
            now_s = responses[0][0]
        else:
            rate.record_request(now_s)
            sent.append(now_s)
            took = took_s(now_s)
            heapq.heappush(responses, (now_s + took, took))
    return sent


def test_first_request_does_not_wait() -> None:
    assert AdaptiveRateLimiter(max_per_s=1).wait_s(0.0) == 0


def test_rate_grows_to_maximum_on_fast_homeserver() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    sent = send(rate, lambda _: USUAL_S, from_s=0, for_s=10)
    assert rate.per_s == MAX_PER_S
    assert len([at_s for at_s in sent if at_s >= 9]) == pytest.approx(MAX_PER_S, rel=0.02)


@pytest.mark.parametrize("capacity", [20, 80, 250])
def test_slow_homeserver_is_used_without_long_queue(capacity: float) -> None:
    rate, homeserver = AdaptiveRateLimiter(max_per_s=1_000), Homeserver(capacity)
    waits = list[float]()

    def took_s(now_s: float) -> float:
        waits.append(homeserver.response_s(now_s))
        return waits[-1]

    sent = send(rate, took_s, from_s=0, for_s=60)
    assert 0.5 * capacity < len(sent) / 60 <= 1.02 * capacity
    assert statistics.median(waits[len(waits) // 2 :]) < USUAL_S + 1 / capacity + 0.05


def test_slow_responses_reduce_rate_until_they_end() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    send(rate, lambda _: USUAL_S, from_s=0, for_s=10)
    send(rate, lambda _: 0.5, from_s=10, for_s=3)
    assert rate.per_s < MAX_PER_S / 2
    send(rate, lambda _: USUAL_S, from_s=13, for_s=20)
    assert rate.per_s == MAX_PER_S


def test_high_latency_alone_does_not_reduce_rate() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    before = rate.per_s
    sent = send(rate, lambda _: 0.2, from_s=0, for_s=20)
    assert len(sent) == pytest.approx(20 * IN_FLIGHT / 0.2, rel=0.02)
    assert rate.per_s == before, "no queueing delay, and the rate is not fully used"


def test_baseline_adapts_to_slower_homeserver() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    send(rate, lambda _: USUAL_S, from_s=0, for_s=10)
    send(rate, lambda _: 0.1, from_s=10, for_s=20)
    assert rate.per_s < 20
    send(rate, lambda _: 0.1, from_s=30, for_s=60)
    assert rate.per_s > 30


def test_rate_does_not_grow_while_unused() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    before = rate.per_s
    for second in range(1_000):
        rate.record_request(second)
        rate.record_response(USUAL_S, second)
    assert rate.per_s == before


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(0.0, 0.0), (2.5, 2.5), (3_600.0, 60.0)])
def test_429_delays_next_request_and_halves_rate(retry_after_s: float, waits_s: float) -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    before = rate.per_s
    rate.record_request(10.0)
    rate.record_rate_limit(retry_after_s, 10.0)
    assert rate.wait_s(10.0) == pytest.approx(waits_s)
    assert rate.per_s == before / 2


def test_simultaneous_failures_reduce_rate_once() -> None:
    rate = AdaptiveRateLimiter(max_per_s=MAX_PER_S)
    before = rate.per_s
    for _ in range(100):
        rate.record_failure(10.0)
    assert rate.per_s == before / 2
    for second in range(11, 100):
        rate.record_failure(second)
    assert rate.per_s == 10


def test_maximum_below_minimum_rate_holds() -> None:
    rate = AdaptiveRateLimiter(max_per_s=1)
    rate.record_failure(10.0)
    assert rate.per_s == 1


@given(
    most=st.floats(1, 1_000),
    steps=st.lists(
        st.tuples(st.floats(0, 0.2), st.sampled_from(["send", "slow", "fast", "limited", "lost"])), max_size=300
    ),
)
def test_no_interval_exceeds_maximum_rate(most: float, steps: list[tuple[float, str]]) -> None:
    rate, now_s, sent = AdaptiveRateLimiter(max_per_s=most), 0.0, list[float]()
    for pause_s, step in steps:
        now_s += pause_s
        if step == "send" and not rate.wait_s(now_s):
            rate.record_request(now_s)
            sent.append(now_s)
        elif step == "limited":
            rate.record_rate_limit(0.1, now_s)
        elif step == "lost":
            rate.record_failure(now_s)
        elif step != "send":
            rate.record_response(1.0 if step == "slow" else USUAL_S, now_s)
        assert min(10.0, most) <= rate.per_s <= most
    for first, at_s in enumerate(sent):
        for last in range(first, len(sent)):
            interval_s = sent[last] - at_s
            # The burst, the requests of the interval, and the first request.
            assert last - first + 1 <= (0.1 + interval_s) * most + 1 + 1e-6
