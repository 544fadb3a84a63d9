"""The log's RepeatFilter: repeated warnings become one line."""

from __future__ import annotations

import pytest
import structlog

from daarion_appservice.ops.logs import RepeatFilter
from tests.parts.clock import SecondsClock


@pytest.fixture
def clock() -> SecondsClock:
    return SecondsClock(0.0)


@pytest.fixture
def repeats(clock: SecondsClock) -> RepeatFilter:
    return RepeatFilter(clock)


def passes(repeats: RepeatFilter, method: str, **line: object) -> bool:
    try:
        repeats(None, method, dict(line))
    except structlog.DropEvent:
        return False
    return True


@pytest.mark.parametrize("method", ["warning", "error"])
def test_same_line_within_a_minute_dropped(repeats: RepeatFilter, clock: SecondsClock, method: str) -> None:
    assert passes(repeats, method, event="inbox_unavailable", error="refused")
    clock.now_s = 59
    assert not passes(repeats, method, event="inbox_unavailable", error="refused")


def test_next_line_after_a_minute_counts_the_dropped(repeats: RepeatFilter, clock: SecondsClock) -> None:
    for _ in range(5):
        passes(repeats, "error", event="inbox_unavailable")
    clock.now_s = 60
    assert repeats(None, "error", {"event": "inbox_unavailable"}) == {"event": "inbox_unavailable", "repeated": 4}


def test_other_words_or_levels_pass(repeats: RepeatFilter) -> None:
    assert passes(repeats, "error", event="message_not_sent", message_id="1")
    assert passes(repeats, "error", event="message_not_sent", message_id="2")
    assert passes(repeats, "info", event="leading")
    assert passes(repeats, "info", event="leading")


def test_tracebacks_pass(repeats: RepeatFilter) -> None:
    assert all(passes(repeats, "error", event="room_delivery_failed", exc_info=True) for _ in range(3))


def test_remembered_lines_bounded(repeats: RepeatFilter) -> None:
    for number in range(10_000):
        passes(repeats, "error", event="message_not_sent", message_id=str(number))
    assert len(repeats._seen) <= 256
