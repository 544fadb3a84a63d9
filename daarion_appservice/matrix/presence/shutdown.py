"""Setting all ghosts offline when the service stops, so that Synapse's timeout does not have to do it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

import structlog

from ...city.types import UserId
from ...errors import HomeserverError, HomeserverRateLimited
from .transport import PresenceTransport, PresenceUpdate, PresenceUpdateResult

log = structlog.get_logger()


async def set_all_offline(transport: PresenceTransport, users: Sequence[UserId], *, max_in_flight: int) -> None:
    """Set ghosts offline; an error of the homeserver ends the attempt.

    Args:
        users: the ghosts.
        max_in_flight: the maximum number of concurrent requests; the transport may allow fewer.
    """
    waiting = iter(users)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(max_in_flight, transport.max_in_flight or max_in_flight)):
            tasks.create_task(_send_batches(transport, waiting))


async def _send_batches(transport: PresenceTransport, users: Iterator[UserId]) -> None:
    while batch := list(islice(users, transport.batch_size)):
        try:
            result = await _send_when_allowed(transport, [PresenceUpdate(user, "offline", None) for user in batch])
        except HomeserverError:
            return
        for user, error in result.refused.items():
            log.warning("presence_refused", user=user, error=str(error))


async def _send_when_allowed(transport: PresenceTransport, updates: Sequence[PresenceUpdate]) -> PresenceUpdateResult:
    while True:
        try:
            return await transport.send(updates)
        except HomeserverRateLimited as error:
            await asyncio.sleep(error.retry_after_ms / 1000)
