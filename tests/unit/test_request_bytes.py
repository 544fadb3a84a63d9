"""Counting of the request bytes that connections hold, and of the excess over a budget."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import TooManyRequests, Unavailable
from daarion_appservice.http.limits.held_bytes import HeldBytes, Stage, head_size
from daarion_appservice.http.limits.request_bytes import Excess, RequestBytes
from daarion_appservice.http.websocket.frames import frame_size


def test_ended_request_holds_nothing() -> None:
    held = HeldBytes()
    held.add(300, Stage.HEAD)
    held.add(200, Stage.BODY)
    assert held.size == 500
    held.end_request(500)
    assert held.size == 0


def test_pipelined_request_stays_held() -> None:
    held = HeldBytes()
    held.add(100, Stage.HEAD)
    held.add(50 + 70, Stage.BODY)  # the end of the first, and the begin of the second
    held.add(1000, Stage.COMPLETE)
    assert held.pipelined == 1000
    held.end_request(150)
    assert held.size == 1070
    held.add(30, Stage.HEAD)
    held.end_request(1100)
    assert held.size == 0


def test_requests_in_one_read_end_in_turn() -> None:
    held = HeldBytes()
    held.add(380, Stage.HEAD)
    for left in (300, 220, 140):
        held.end_request(80)
        assert held.size == left


def test_bytes_before_dispatch_stay_held() -> None:
    held = HeldBytes()
    held.add(65_000, Stage.HEAD)  # a request of 100 bytes, and what is behind it
    held.add(65_000, Stage.HEAD)
    held.end_request(100)
    assert held.size == 129_900


@pytest.mark.parametrize("stage", [Stage.HEAD, Stage.BODY])
def test_chunk_framing_does_not_accumulate(stage: Stage) -> None:
    held = HeldBytes()
    for _ in range(1000):
        held.add(100, Stage.HEAD)
        held.add(20, stage)
        held.end_request(110, is_chunked=True)  # ten bytes were framing
    assert held.size == 0
    held.add(40_000, Stage.HEAD)
    held.end_request(110, is_chunked=True)
    assert held.size == 39_890


def test_forwarded_body_is_not_held() -> None:
    held = HeldBytes()
    held.add(200, Stage.HEAD)  # the head
    for _ in range(10):
        held.add(64_000, Stage.BODY)
        held.body_forwarded(64_000)
    assert held.size == 200
    held.end_request(200 + 640_000)
    assert held.size == 0


def test_websocket_message_taken_leaves_the_head() -> None:
    held = HeldBytes()
    held.add(400, Stage.HEAD)
    mark = held.received
    held.add(1006, Stage.COMPLETE)
    held.message_taken(1006, mark, 400)
    assert held.size == 400


def test_fragment_framing_does_not_accumulate() -> None:
    held = HeldBytes()
    held.add(400, Stage.HEAD)
    for _ in range(1000):
        mark = held.received
        held.add(600, Stage.COMPLETE)
        held.message_taken(100, mark, 400)
    assert held.size <= 400 + 600


def test_ping_between_fragments_releases_only_itself() -> None:
    held = HeldBytes()
    held.add(400, Stage.HEAD)
    held.add(50_000, Stage.COMPLETE)  # fragments of a message that goes on
    held.add(6, Stage.COMPLETE)
    held.message_taken(6, None, 400)
    assert held.size == 50_400


def test_message_taken_after_clear_adds_nothing() -> None:
    held = HeldBytes()
    held.add(400, Stage.HEAD)
    held.clear()
    held.message_taken(100, held.received, 400)
    assert held.size == 0


@pytest.mark.parametrize(
    ("content", "size"),
    [("", 6), ("a" * 125, 131), ("a" * 126, 134), ("місто", 16), (b"\0" * 65_536, 65_550), (1000, 0), (None, 0)],
)
def test_frame_size_counts_header_and_mask(content: object, size: int) -> None:
    assert frame_size(content) == size


def test_head_size_equals_sent_bytes() -> None:
    head = b"GET /city/rooms?limit=3 HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\r\n"
    assert head_size("GET", "/city/rooms?limit=3", [(b"Host", b"localhost"), (b"X-A", b"b")]) == len(head)


def test_address_over_budget_is_the_excess() -> None:
    held = RequestBytes("unit", per_address=100, in_all=1000)
    held.change("a", 100)
    assert held.excess("a") is None
    held.change("a", 30)
    assert held.excess("a") == Excess("a", 30, "address")
    assert isinstance(Excess("a", 30, "address").error, TooManyRequests)
    held.change("a", -130)
    assert held.excess("a") is None
    assert held.total == 0


def test_total_over_budget_selects_largest_holder() -> None:
    held = RequestBytes("unit", per_address=100, in_all=1000)
    held.change(None, 950)
    held.change("a", 60)
    assert held.excess("a") == Excess(None, 10, "all")
    assert isinstance(Excess(None, 10, "all").error, Unavailable)


def test_zero_budget_is_unlimited() -> None:
    held = RequestBytes("unit", per_address=0, in_all=0)
    held.change("a", 1 << 40)
    assert held.excess("a") is None
