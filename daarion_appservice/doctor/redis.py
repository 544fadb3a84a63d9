"""Checks of Redis, which several processes share."""

from __future__ import annotations

from typing import Final

from ..realtime.redis_client import EVICTION_ADVICE, evicting_memory, find_absence, tls_advice
from .checks import check
from .findings import Finding, failed, passed, skipped, warning
from .installation import Installation


@check(
    needs=("config",),
    symptoms=("Two processes show different presence.", "The service does not start, with exit code 9."),
)
async def redis(installation: Installation) -> Finding:
    """Redis answers, accepts the login, is of version 7 or later, and is a cluster exactly if `redis.cluster` says so."""
    client = installation.redis
    if client is None:
        return skipped("redis.url is empty: the city has one process.")
    absence = await find_absence(client)
    if absence is not None:
        return failed(
            f"Redis does not answer: {absence}.",
            await tls_advice(installation.settings.redis.url, str(absence))
            or "Check that it runs there, and host, port and TLS in redis.url.",
        )
    return passed("It can be used.")


@check(needs=("redis",), symptoms=("Presence alternates between online and offline.",))
async def redis_eviction(installation: Installation) -> Finding:
    """Redis drops no keys when its memory is full."""
    assert installation.redis is not None
    memory = await evicting_memory(installation.redis)
    if memory is not None:
        return warning(
            f"maxmemory-policy is {memory['maxmemory_policy']}: Redis drops keys when its memory is full.",
            f"Then {EVICTION_ADVICE}.",
        )
    return passed("noeviction")


CHECKS: Final = (redis, redis_eviction)
