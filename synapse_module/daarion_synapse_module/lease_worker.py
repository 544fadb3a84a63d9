"""Refreshes the presence of users while the lease of their application service is active, and then sets them offline."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from .leases import Lease, Leases
from .presence_updates import OFFLINE, UserPresence
from .presence_writer import PresenceWriter

logger = logging.getLogger(__name__)

_BATCH_SIZE: Final = 500
"""Users that are processed before other work of Synapse gets its turn: 2 ms for a refresh of them, 70 ms for a change."""


class LeaseWorker:
    """Applies presence updates and the ends of leases.

    Args:
        monotonic: returns the time in seconds; changes of the system time must not end leases.
        sleep: yields to other work of Synapse.
    """

    def __init__(
        self,
        leases: Leases,
        writer: PresenceWriter,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._leases = leases
        self._writer = writer
        self._monotonic = monotonic
        self._sleep = sleep

    async def update(self, service: str, users: Mapping[str, UserPresence]) -> Lease:
        """Set the presence of users, and renew the lease of ``service``, which keeps them online."""
        lease = self._leases.renew(service, self._monotonic())
        self._leases.set_users(lease, users)
        await self._writer.write(users)
        return lease

    async def release(self, service: str) -> int:
        """End the lease of ``service`` and set its users offline; return their number."""
        count = self._leases.end(service)
        await self._set_offline()
        return count

    async def refresh(self) -> None:
        """End overdue leases and refresh all users. Call every ``PresenceWriter.refresh_interval_s`` seconds."""
        for service, count in self._leases.end_overdue(self._monotonic()).items():
            logger.warning("The application service %s sends no requests: setting %d users offline", service, count)
        # Refreshes come first, because they need no database: if that fails, users of active leases stay online.
        changed = [(lease, await self._refresh(lease)) for lease in self._leases.active]
        await self._set_offline()
        for lease, user_ids in changed:
            await self._write_again(lease, user_ids)

    async def _set_offline(self) -> None:
        """Set the users of ended leases offline. They leave the lease only after that, so that a failure is retried."""
        while user_ids := self._leases.users_of_ended(_BATCH_SIZE):
            await self._writer.write(dict.fromkeys(user_ids, OFFLINE))
            self._leases.remove_from_ended(user_ids)
            await self._sleep(0)

    async def _refresh(self, lease: Lease) -> list[str]:
        """Refresh the users of a lease; return those whose presence must be written again."""
        changed: list[str] = []
        for users in self._batches(lease):
            changed += self._writer.refresh(users)
            await self._sleep(0)
        return changed

    async def _write_again(self, lease: Lease, user_ids: list[str]) -> None:
        for users in self._batches(lease, user_ids):
            await self._writer.write(users)

    def _batches(self, lease: Lease, user_ids: list[str] | None = None) -> Iterator[dict[str, UserPresence]]:
        """Yield users of ``lease`` in batches, each read when it is due: requests may change users in between."""
        for batch in _batches(list(lease.users) if user_ids is None else user_ids):
            if not self._leases.is_active(lease):
                return
            yield {user_id: lease.users[user_id] for user_id in batch if user_id in lease.users}


def _batches(user_ids: list[str]) -> Iterator[list[str]]:
    rest = iter(user_ids)
    while batch := list(islice(rest, _BATCH_SIZE)):
        yield batch
