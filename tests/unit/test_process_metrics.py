"""Metrics of the process that no city is needed for: the event loop, Redis, slow readers, and their names."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.http.limits.tcp_connection import TcpConnection
from daarion_appservice.http.metrics import StreamMetrics
from daarion_appservice.http.routes import presence
from daarion_appservice.http.websocket.socket_writer import SocketWriter
from daarion_appservice.matrix.backfill.metrics import measured_sweep
from daarion_appservice.ops import event_loop_lag
from daarion_appservice.realtime.presence_stream import Changes
from daarion_appservice.realtime.redis_client import response_of
from daarion_appservice.wiring import build_city
from docgen import metrics, pages
from tests.parts.city import eventually
from tests.parts.metrics import Moves


async def test_event_loop_lag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop_lag, "_EVERY_S", 0.001)
    moves = Moves()
    task = asyncio.create_task(event_loop_lag.measure_event_loop_lag())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 -- this is the code that blocks the loop

    async def is_measured() -> bool:
        return moves.of("daarion_event_loop_lag_seconds_count") > 0

    await eventually(is_measured)
    task.cancel()
    assert moves.of("daarion_event_loop_lag_seconds_sum") > 0.25


async def test_redis_commands_are_measured() -> None:
    async def answer() -> str:
        return "PONG"

    async def fail() -> str:
        raise RedisConnectionError("away")

    moves = Moves()
    await response_of(answer())
    await response_of(answer(), is_blocking=True)
    with pytest.raises(RedisConnectionError):
        await response_of(fail())
    assert moves.of("daarion_redis_command_seconds_count") == 1
    assert moves.of("daarion_redis_errors_total") == 1


class StalledTransport:
    """A transport whose peer reads nothing."""

    def get_write_buffer_size(self) -> int:
        return 1 << 30

    def is_closing(self) -> bool:
        return False

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


class StalledConnection:
    transport = StalledTransport()


async def test_slow_websocket_is_counted_once_cut() -> None:
    moves, sent = Moves(), StreamMetrics()
    SocketWriter(cast("TcpConnection", StalledConnection()), sent).write(b"frame")
    assert moves.of("daarion_slow_readers_cut_total", kind="websocket") == 1
    assert sent.sent_messages == 0


def test_slow_event_stream_is_counted_once() -> None:
    moves, queue = Moves(), presence._Queue()
    for _ in range(presence._MAX_TICKS_BEHIND + 3):
        queue.presence(Changes([]))
    assert moves.of("daarion_slow_readers_cut_total", kind="event_stream") == 1


async def test_sweep_is_measured_by_result() -> None:
    moves = Moves()
    with measured_sweep():
        pass
    with pytest.raises(HomeserverUnavailable), measured_sweep():
        raise HomeserverUnavailable("gone")
    assert moves.of("daarion_sweep_seconds_count", result="complete") == 1
    assert moves.of("daarion_sweep_seconds_count", result="failed") == 1


async def test_metric_names_follow_conventions() -> None:
    city = build_city(pages.settings())
    try:
        exported = {
            name: value for name, value in metrics.exported(city.metrics).items() if name.startswith("daarion_")
        }
    finally:
        await city.close()
    assert len(exported) > 60
    for name, (kind, documentation) in exported.items():
        assert re.fullmatch(r"daarion_[a-z]+(_[a-z]+)*", name), name
        assert documentation, name
        assert documentation.endswith("."), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind != "histogram" or name.endswith(("_seconds", "_bytes")), name
        assert not re.search(r"_(ms|milliseconds|kb|minutes|count|sum)(_|$)", name), name
