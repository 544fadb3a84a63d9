"""A connection to the Redis that the city's processes share: any server of version 7 or later, or Valkey; a cluster, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..errors import ExitCode, StartError

Client = Redis | RedisCluster
_OLDEST: Final = 7
T = TypeVar("T")

log = structlog.get_logger()

TIMEOUT_S: Final = 2.0
"""How long one command may take before Redis counts as gone; longer than any of ours blocks."""

REDIS_ERRORS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a command raises when Redis is away, or says no."""


def connect(url: str, *, cluster: bool) -> Client:
    """A client for ``redis://``, ``rediss://`` or ``unix://``; connects with its first command.

    It tries nothing again by itself: whoever uses it knows what has to be made good first.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    kind = RedisCluster if cluster else Redis
    client: Client = kind.from_url(url, **options)
    return client


async def check(client: Client) -> None:
    """Raise StartError, in words, when this Redis cannot be used. One that does not answer may yet come: that is no error."""
    try:
        info = await client.info("server")
    except (AuthenticationError, NoPermissionError) as error:
        raise StartError(
            f"Redis refuses us: {error}", "Check user and password in redis.url.", ExitCode.REDIS
        ) from error
    except RedisClusterException as error:
        raise _wrong_kind("redis.cluster is true, but this Redis is no cluster", error) from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        log.warning("redis_not_found", error=str(error), help="the city starts without it; trying again")
        return
    except RedisError as error:
        raise _wrong_kind("This Redis cannot be used", error) from error
    mode = info.get("redis_mode") or info.get("server_mode")  # Redis, Valkey
    if isinstance(client, Redis) and mode == "cluster":
        raise _wrong_kind("This Redis is a cluster", "set redis.cluster to true")
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < _OLDEST:
        raise _wrong_kind(f"This Redis is of version {version}", f"{_OLDEST}.0 or later is needed, or a Valkey")
    await _check_eviction(client)


async def _check_eviction(client: Client) -> None:
    try:
        memory = await client.info("memory")
    except REDIS_ERRORS:
        return  # a managed server may not say; it is for information
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        log.warning(
            "redis_evicts",
            maxmemory_policy=policy,
            maxmemory_bytes=memory.get("maxmemory"),
            help="when its memory is full, this Redis drops keys, and people flap between online and offline: set "
            "`maxmemory-policy noeviction`",
        )


def _wrong_kind(what: str, why: object) -> StartError:
    return StartError(f"{what}: {why}", "Correct the section redis in config.yaml.", ExitCode.REDIS)


def heed_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and goes on nevertheless.

    A request that is cancelled while it connects may be answered all the same, or end with an error of its own; either way
    the cancellation would be forgotten, and whoever waits for the task's end would wait for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def ask(request: Awaitable[T]) -> T:
    """What Redis answers to one request. Every request goes through here."""
    answer = await request
    heed_cancellation()
    return answer
