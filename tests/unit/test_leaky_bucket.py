"""The leaky bucket for the events of one WebSocket."""

from __future__ import annotations

import pytest
from limits import parse

from daarion_appservice.http.limits.leaky_bucket import LeakyBucket
from tests.parts.clock import SecondsClock


def test_bucket_accepts_burst_then_drains(clock: SecondsClock) -> None:
    bucket = LeakyBucket(parse("10/second"), clock)
    assert [bucket.add() for _ in range(10)] == [0] * 10
    wait_s = bucket.add()
    assert wait_s == pytest.approx(0.2)
    assert not bucket.is_exhausted
    clock.now_s += wait_s
    assert bucket.add() == pytest.approx(0)
    clock.now_s += 3600
    assert [bucket.add() > 0 for _ in range(11)] == [False] * 10 + [True], "no more is saved up"


def test_bucket_accepts_steady_rate(clock: SecondsClock) -> None:
    bucket = LeakyBucket(parse("50/second"), clock)
    for _ in range(1000):
        clock.now_s += 0.1
        assert bucket.add() == 0


def test_bucket_flooded_is_exhausted(clock: SecondsClock) -> None:
    bucket = LeakyBucket(parse("10/second"), clock)
    for _ in range(20):
        bucket.add()
        assert not bucket.is_exhausted
    bucket.add()
    assert bucket.is_exhausted
