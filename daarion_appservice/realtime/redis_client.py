"""The connection to the Redis that the processes share: version 7 or later, or Valkey; also a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import Counter, Histogram
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from yarl import URL

from ..errors import ExitCode, StartError
from ..tls_probe import is_open, speaks_tls

Client = Redis | RedisCluster
_OLDEST: Final = 7
_PORT: Final = 6379
_NO_CLUSTER: Final = "Cluster mode is not enabled"
"""redis-py's error for a server that refuses ``CLUSTER SLOTS``."""
T = TypeVar("T")
EVICTION_ADVICE: Final = "presence alternates between online and offline: set `maxmemory-policy noeviction`"

log = structlog.get_logger()

TIMEOUT_S: Final = 2.0
"""How long one command may take before Redis counts as away; longer than any blocking command here."""

REDIS_ERRORS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""Exceptions of a command when Redis is unavailable or refuses it."""


COMMAND_SECONDS: Final = Histogram(
    "daarion_redis_command_seconds",
    "Duration of commands to Redis, without those that wait for data.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 2.5),
    registry=None,
)
ERRORS: Final = Counter("daarion_redis_errors", "Commands that Redis did not answer, or refused.", registry=None)
METRICS: Final = (COMMAND_SECONDS, ERRORS)


def connect(url: str, *, cluster: bool) -> Client:
    """Return a client for ``redis://``, ``rediss://`` or ``unix://``; it connects with its first command.

    It does not retry: the caller knows what has to be repaired first.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    kind = RedisCluster if cluster else Redis
    try:
        client: Client = kind.from_url(url, **options)
    except (RedisClusterException, ValueError, TypeError) as error:
        raise _wrong_kind("redis.url cannot be used", error) from error
    return client


async def check(client: Client, url: str) -> None:
    """Raise StartError if this Redis cannot be used. One that does not answer is not an error: it may start later."""
    if (absence := await find_absence(client)) is not None:
        await _report_absence(url, absence)
        return
    if memory := await evicting_memory(client):
        log.warning(
            "redis_evicts",
            maxmemory_policy=memory["maxmemory_policy"],
            maxmemory_bytes=memory.get("maxmemory"),
            help=f"when its memory is full, this Redis drops keys, and {EVICTION_ADVICE}",
        )


async def find_absence(client: Client) -> Exception | None:
    """Return the error of a Redis that does not answer; None if it can be used.

    Raises:
        StartError: it refuses the login, is too old, or is a cluster or not contrary to the configuration.
    """
    try:
        info = await client.info("server")
    except (AuthenticationError, NoPermissionError) as error:
        raise _refused(error) from error
    except RedisClusterException as error:
        if isinstance(error.__cause__, AuthenticationError | NoPermissionError):
            raise _refused(error.__cause__) from error
        if _NO_CLUSTER in str(error):
            raise _wrong_kind("redis.cluster is true, but this Redis is not a cluster", error) from error
        return error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        return error
    except RedisError as error:
        raise _wrong_kind("This Redis cannot be used", error) from error
    mode = info.get("redis_mode") or info.get("server_mode")  # Redis, Valkey
    if isinstance(client, Redis) and mode == "cluster":
        raise _wrong_kind("This Redis is a cluster", "set redis.cluster to true")
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < _OLDEST:
        raise _wrong_kind(f"This Redis is of version {version}", f"{_OLDEST}.0 or later is needed, or a Valkey")
    return None


async def _report_absence(url: str, error: Exception) -> None:
    log.warning(
        "redis_not_found",
        error=str(error),
        help=await tls_advice(url, str(error)) or "the city starts without it; trying again",
    )


async def tls_advice(url: str, reason: str) -> str | None:
    """Return advice about TLS in ``redis.url``, as far as the cause can be detected; None if TLS is not the cause."""
    address = URL(url)
    if address.scheme not in {"redis", "rediss"} or address.host is None:
        return None
    if "CERTIFICATE" in reason:
        return (
            "the TLS certificate of Redis is not trusted for this name: name its CA in redis.url, "
            "rediss://…?ssl_ca_certs=/path/to/ca.pem"
        )
    port = address.port or _PORT
    has_tls = await speaks_tls(address.host, port)
    if address.scheme == "redis" and has_tls:
        return "this Redis speaks TLS: redis.url must begin with rediss://"
    if address.scheme == "rediss" and not has_tls and await is_open(address.host, port):
        return "the TLS handshake with Redis fails: if it speaks no TLS there, redis.url must begin with redis://"
    return None


async def evicting_memory(client: Client) -> dict[str, Any] | None:
    """Return the section ``memory`` of ``INFO`` if this Redis drops keys when its memory is full; otherwise None."""
    try:
        memory: dict[str, Any] = await client.info("memory")
    except REDIS_ERRORS:
        return None  # a managed server may refuse; the policy is only for a warning
    policy = memory.setdefault("maxmemory_policy", "noeviction")
    return memory if policy != "noeviction" else None


def _refused(error: BaseException) -> StartError:
    return StartError(f"Redis rejects the login: {error}", "Check user and password in redis.url.", ExitCode.REDIS)


def _wrong_kind(what: str, why: object) -> StartError:
    return StartError(f"{what}: {why}", "Correct the section redis in config.yaml.", ExitCode.REDIS)


def raise_if_cancelled() -> None:
    """Raise CancelledError if this task was cancelled but still runs.

    A request that is cancelled while it connects may succeed all the same, or end with another error; either way the
    cancellation would be lost, and a task that waits for this one would wait forever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def response_of(command: Awaitable[T], *, is_blocking: bool = False) -> T:
    """Return the response of Redis to one command. Every command goes through this function.

    Args:
        is_blocking: whether Redis waits for data before it responds, so that the duration says nothing.
    """
    began_s = time.perf_counter()
    try:
        response = await command
    except REDIS_ERRORS:
        ERRORS.inc()
        raise
    if not is_blocking:
        COMMAND_SECONDS.observe(time.perf_counter() - began_s)
    raise_if_cancelled()
    return response
