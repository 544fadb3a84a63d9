"""The circuit breaker: opens after failures, admits one trial after a pause."""

from __future__ import annotations

import pytest

from daarion_appservice.agents.breaker import Breaker
from tests.parts.clock import MillisecondsClock

PAUSE_MS = 1_000


@pytest.fixture
def clock() -> MillisecondsClock:
    return MillisecondsClock(5_000)


@pytest.fixture
def breaker(clock: MillisecondsClock) -> Breaker:
    return Breaker(clock, failures=3, pause_ms=PAUSE_MS)


def test_consecutive_failures_open_breaker(breaker: Breaker) -> None:
    assert [breaker.record_failure(), breaker.record_failure(), breaker.record_success()] == [False, False, False]
    assert [breaker.record_failure(), breaker.record_failure()] == [False, False]
    assert (breaker.is_open, breaker.wait_ms, breaker.admit()) == (False, 0, True)
    assert breaker.record_failure()
    assert (breaker.is_open, breaker.wait_ms, breaker.admit()) == (True, PAUSE_MS, False)


def test_open_breaker_admits_one_trial_per_pause(breaker: Breaker, clock: MillisecondsClock) -> None:
    opened(breaker)
    clock.now_ms += PAUSE_MS
    assert [breaker.admit(), breaker.admit()] == [True, False]
    assert not breaker.record_failure(), "it is open already"
    assert not breaker.admit()
    clock.now_ms += PAUSE_MS
    assert [breaker.admit(), breaker.admit()] == [True, False], "also when nobody heard of the one before"


def test_successful_trial_closes_breaker(breaker: Breaker, clock: MillisecondsClock) -> None:
    opened(breaker)
    clock.now_ms += PAUSE_MS
    assert breaker.admit()
    assert breaker.record_success()
    assert (breaker.is_open, breaker.wait_ms) == (False, 0)
    assert [breaker.admit(), breaker.record_failure(), breaker.record_failure(), breaker.record_failure()] == [
        True,
        False,
        False,
        True,
    ]


def test_earlier_requests_do_not_extend_pause(breaker: Breaker, clock: MillisecondsClock) -> None:
    opened(breaker)
    clock.now_ms += PAUSE_MS - 1
    assert not breaker.record_failure()
    clock.now_ms += 1
    assert breaker.admit()


def opened(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.record_failure()
    assert breaker.is_open
