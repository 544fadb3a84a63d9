"""The moving window rate limit in memory: which requests it accepts, and how much memory it uses."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse

from daarion_appservice.http.limits import moving_window
from daarion_appservice.http.limits.moving_window import MovingWindow
from tests.parts.clock import SecondsClock


def test_window_any_span_within_limit(clock: SecondsClock) -> None:
    window = MovingWindow(parse("3/minute"), clock)
    taken = []
    for clock.now_s in range(1000, 1200, 7):
        if window.count("u") == 0:
            taken.append(clock.now_s)
    assert taken == [1000, 1007, 1014, 1063, 1070, 1077, 1126, 1133, 1140, 1189, 1196]


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from("ab")), max_size=80))
def test_window_equals_log_of_all_times(steps: list[tuple[float, str]]) -> None:
    clock = SecondsClock()
    window = MovingWindow(parse("3/minute"), clock)
    times: dict[str, list[float]] = {"a": [], "b": []}
    for step_s, who in steps:
        clock.now_s += step_s
        latest = [at_s for at_s in times[who] if at_s > clock.now_s - 60]
        expected = latest[0] + 60 - clock.now_s if len(latest) == 3 else 0
        assert window.wait_s(who) == window.count(who) == expected
        if not expected:
            times[who] = [*latest, clock.now_s]


def test_window_after_wait_accepts(clock: SecondsClock) -> None:
    window = MovingWindow(parse("2/hour"), clock)
    assert [window.count("u"), window.count("u")] == [0, 0]
    clock.now_s += 600
    wait_s = window.count("u")
    assert wait_s == 3000
    clock.now_s += wait_s - 1
    assert window.count("u") == 1
    clock.now_s += 1
    assert window.count("u") == 0


def test_window_counts_keys_separately(clock: SecondsClock) -> None:
    window = MovingWindow(parse("1/minute"), clock)
    assert [window.count("a"), window.count("b")] == [0, 0]
    assert window.count("a") == window.count("b") == 60


def test_window_idle_keys_are_dropped(clock: SecondsClock) -> None:
    window = MovingWindow(parse("5/minute"), clock)
    for number in range(1000):
        window.count(f"address {number}")
    assert len(window) == 1000
    for _ in range(2):
        clock.now_s += 60
        window.count("somebody")
    assert len(window) == 1


def test_window_many_keys_bound_memory(clock: SecondsClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_window, "MAX_KEYS", 1000)
    window = MovingWindow(parse("5/minute"), clock)
    for number in range(100_000):
        window.count(f"address {number}")
    assert len(window) <= 2000
    tracemalloc.start()
    for number in range(100_000, 200_000):
        window.count(f"address {number}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000
    assert window.count("address 199999") == 0, "the newest are remembered"
    for _ in range(3):
        window.count("address 199999")
    assert window.count("address 199999") == 60


def test_window_busy_key_bounds_memory(clock: SecondsClock) -> None:
    window = MovingWindow(parse("1000/minute"), clock)
    for _ in range(10_000):
        clock.now_s += 1
        assert window.count("u") == 0
    (times,) = window._young.values()
    assert len(times) <= 60
