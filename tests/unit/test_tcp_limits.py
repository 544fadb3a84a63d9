"""The rules of TCP connections without I/O: timeouts, write buffers, open responses, throttled log events."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits.connection_timer import ConnectionTimeouts, ConnectionTimer, Expiry
from daarion_appservice.http.limits.open_responses import OpenResponses
from daarion_appservice.http.limits.write_buffers import WriteBuffer, buffers_to_abort
from daarion_appservice.log_throttle import LogThrottle

TIMEOUTS = ConnectionTimeouts(head_s=10, idle_s=100, stalled_s=30, min_bytes_per_s=1000)


def check(timer: ConnectionTimer, now_s: float, unsent: int = 0, acknowledged: int | None = None) -> Expiry | None:
    return timer.check(TIMEOUTS, now_s, unsent, acknowledged)


def test_timer_without_request_expires_after_head_time() -> None:
    timer = ConnectionTimer()
    timer.opened(1000)
    assert [check(timer, now_s) for now_s in (1010, 1010.1)] == [None, Expiry.IDLE]


def test_timer_after_request_expires_after_idle_time() -> None:
    timer = ConnectionTimer()
    timer.opened(1000)
    timer.request_begun()
    assert check(timer, 5000) is None
    timer.request_ended(5000)
    assert [check(timer, now_s) for now_s in (5100, 5100.1)] == [None, Expiry.IDLE]


def test_timer_with_incomplete_head_expires() -> None:
    timer = ConnectionTimer()
    timer.opened(1000)
    timer.request_begun()
    timer.request_ended(1001)
    assert timer.is_head_expected
    timer.head_begun(1002)
    assert not timer.is_head_expected
    assert [check(timer, now_s) for now_s in (1012, 1012.1)] == [None, Expiry.HEAD]
    timer.request_begun()
    assert check(timer, 1013) is None


@pytest.mark.parametrize("is_busy", [True, False])
def test_timer_with_stalled_peer_expires(is_busy: bool) -> None:
    timer = ConnectionTimer()
    timer.request_begun()
    if not is_busy:
        timer.request_ended(1000)
    assert [check(timer, now_s, 500, 7) for now_s in (1000, 1030, 1031)] == [None, None, Expiry.UNREAD]


@pytest.mark.parametrize("progress", ["buffer", "acknowledgement"])
def test_timer_with_reading_peer_does_not_expire(progress: str) -> None:
    timer = ConnectionTimer()
    timer.request_begun()
    for step in range(100):
        unsent = 5000 - step if progress == "buffer" else 5000
        acknowledged = step if progress == "acknowledgement" else None
        assert check(timer, 1000 + 20 * step, unsent, acknowledged) is None


def test_timer_of_slow_response_reader_expires() -> None:
    timer = ConnectionTimer()
    timer.request_begun()
    timer.request_ended(1000)
    # 5,000 bytes at 1,000 bytes/s, after 30 s.
    assert [check(timer, 1000 + after_s, 5000 - after_s) for after_s in (0, 20, 35, 36)] == [
        None,
        None,
        None,
        Expiry.UNREAD,
    ]


def test_timer_counts_idle_time_from_the_last_read() -> None:
    timer = ConnectionTimer()
    timer.request_begun()
    timer.request_ended(1000)
    assert check(timer, 1020, 100) is None
    assert [check(timer, now_s) for now_s in (1120, 1120.1)] == [None, Expiry.IDLE]


def aborted(buffers: dict[str, tuple[int, str | None]], per_address: int = 0, in_all: int = 0) -> list[str]:
    waiting = [WriteBuffer(size, client, name) for name, (size, client) in buffers.items()]
    return [each.connection for each in buffers_to_abort(waiting, per_address=per_address, in_all=in_all)]


def test_buffers_within_limits_are_kept() -> None:
    buffers: dict[str, tuple[int, str | None]] = {"a": (100, "x"), "b": (100, "y"), "c": (900, None)}
    assert aborted(buffers) == []
    assert aborted(buffers, per_address=100, in_all=1100) == []


def test_address_over_buffer_limit_loses_largest_first() -> None:
    buffers: dict[str, tuple[int, str | None]] = {"a": (10, "x"), "b": (80, "x"), "c": (60, "x"), "d": (90, "y")}
    assert aborted(buffers, per_address=100) == ["b"]
    assert aborted(buffers, per_address=50) == ["d", "b", "c"]


def test_buffers_over_total_are_aborted_largest_first() -> None:
    buffers: dict[str, tuple[int, str | None]] = {"a": (10, "x"), "b": (80, None), "c": (60, "y")}
    assert aborted(buffers, in_all=80) == ["b"]
    assert aborted(buffers, in_all=69) == ["b", "c"]


def test_open_responses_over_the_limit_are_refused() -> None:
    responses = OpenResponses(per_address=2)
    for connection in ("a", "b", "b"):
        responses.add("x", connection)
    responses.check("x")
    responses.add("x", "c")
    with pytest.raises(TooManyRequests):
        responses.check("x")
    responses.check("y")
    responses.check(None)
    for _ in range(2):
        responses.discard("x", "a")
    responses.discard(None, "b")
    responses.check("x")


def test_open_responses_without_limit_are_accepted() -> None:
    responses = OpenResponses(per_address=0)
    for connection in range(1000):
        responses.add("x", connection)
    responses.check("x")


def test_log_throttle_allows_each_event_once_a_minute() -> None:
    now_s = 0.0
    throttle = LogThrottle(lambda: now_s)
    assert [throttle.allows("a"), throttle.allows("a"), throttle.allows("b"), throttle.allows()] == [
        True,
        False,
        True,
        True,
    ]
    now_s = 59.9
    assert not throttle.allows("a")
    assert (throttle.skipped("a"), throttle.skipped("a"), throttle.skipped("b")) == (2, 0, 0)
    now_s = 60.0
    assert throttle.allows("a")
