"""Tests of rate limits that the processes of a city count in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from daarion_appservice.config import LimitsSettings
from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits import redis_window
from daarion_appservice.http.limits.rates import Rate, RateLimiter
from daarion_appservice.realtime.redis_client import connect
from tests.parts.city import eventually
from tests.parts.redis import RedisServer
from tests.parts.waiting import WAIT_S


@asynccontextmanager
async def process(redis: RedisServer, **limits: str) -> AsyncIterator[RateLimiter]:
    """What one process of a city counts."""
    client = connect(redis.url, cluster=redis.cluster)
    try:
        yield RateLimiter(LimitsSettings.model_validate(limits), client)
    finally:
        await client.aclose()


async def taken(rates: RateLimiter, count: int, rate: Rate = Rate.MESSAGES, who: str = "citizen:u_1") -> int:
    """How many of so many are taken."""
    refusals = []
    for _ in range(count):
        try:
            await rates.count(rate, who)
        except TooManyRequests as refusal:
            refusals.append(refusal)
    assert all(3_500 < each.retry_after_s <= 3_600 for each in refusals)
    return count - len(refusals)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may take its time where all processors are busy."""
    monkeypatch.setattr(redis_window, "_TIMEOUT_S", 30.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("server", ["redis", "redis_cluster"])
async def test_processes_share_limits(server: str, request: pytest.FixtureRequest) -> None:
    redis: RedisServer = request.getfixturevalue(server)
    limits = {"messages": "5/hour", "wrong_tokens": "2/hour", "typing": "2/hour"}
    async with process(redis, **limits) as one, process(redis, **limits) as other:
        assert [await taken(one, 3), await taken(other, 3), await taken(one, 1)] == [3, 2, 0]
        assert await taken(other, 3, who="citizen:u_2") == 3
        assert [await taken(each, 2, Rate.WRONG_TOKENS) for each in (one, other)] == [2, 0]
        with pytest.raises(TooManyRequests):
            other.check(Rate.WRONG_TOKENS, "citizen:u_1")
        # What is counted so often that asking Redis would cost too much, each counts for itself.
        assert [await taken(each, 3, Rate.TYPING) for each in (one, other)] == [2, 2]


@pytest.mark.usefixtures("patient")
async def test_redis_unavailable_counts_in_each_process(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_window, "_RETRY_S", 0.2)
    async with process(redis, messages="5/hour") as one, process(redis, messages="5/hour") as other:
        assert await taken(one, 2) == 2
        redis.kill()
        with capture_logs() as logs:
            assert [await taken(one, 8), await taken(other, 8)] == [5, 5]
            assert [each["event"] for each in logs] == ["limits_not_shared"] * 2, "one line from each"
            redis.start()

            async def is_shared() -> bool:
                await taken(one, 1, who="citizen:u_2")
                return [each["event"] for each in logs[2:]] == ["limits_shared"]

            await eventually(is_shared)
        assert await taken(one, 6, who="citizen:u_3") == 5


async def test_redis_frozen_delays_few_requests(redis: RedisServer) -> None:
    async with process(redis, messages="50/hour") as rates:
        assert await taken(rates, 1) == 1
        redis.freeze()
        try:
            async with asyncio.timeout(WAIT_S):  # not half a second for each
                assert await taken(rates, 200) == 50
        finally:
            redis.thaw()


@pytest.mark.usefixtures("patient")
async def test_redis_keys_expire(redis: RedisServer) -> None:
    async with process(redis, messages="5/minute") as rates:
        await rates.count(Rate.MESSAGES, "citizen:u_1")
    client: Any = connect(redis.url, cluster=False)
    try:
        keys = await client.keys("*")
        assert keys == ["city:limits:messages/citizen:u_1/5/1/minute"]
        assert 0 < await client.ttl(keys[0]) <= 60
    finally:
        await client.aclose()
