"""Keeps users up as long as their application service lives, and lets them go when it does not."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from .leases import Lease, Leases
from .presence_writer import PresenceWriter
from .wishes import OFFLINE, Shown

logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 500
"""How many users are seen to before Synapse may do something else: 2 ms for keeping them, 70 for a change."""


class Keeper:
    """``monotonic`` gives the time in seconds; the wall's clock may jump, and end every lease at once."""

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

    async def show(self, service: str, users: Mapping[str, Shown]) -> Lease:
        """Show users so, and keep up those who are not offline; renews the lease of ``service``."""
        lease = self._leases.renew(service, self._monotonic())
        self._leases.put(lease, users)
        await self._writer.show(users)
        return lease

    async def give_up(self, service: str) -> int:
        """Take everybody offline whom ``service`` keeps up; answers how many."""
        count = self._leases.give_up(service)
        await self._let_go()
        return count

    async def see_to_all(self) -> None:
        """To be called every ``PresenceWriter.keep_every_s`` seconds."""
        for service, count in self._leases.end_overdue(self._monotonic()).items():
            logger.warning("The application service %s has gone silent: taking %d users offline", service, count)
        # First what needs no database: when that fails, those who live are kept up all the same.
        changed = [(lease, await self._keep(lease)) for lease in self._leases.live]
        await self._let_go()
        for lease, user_ids in changed:
            await self._mend(lease, user_ids)

    async def _let_go(self) -> None:
        # Users leave the lease only when the database has it: what fails is done again the next time.
        while user_ids := self._leases.to_let_go(_AT_A_TIME):
            await self._writer.show(dict.fromkeys(user_ids, OFFLINE))
            self._leases.let_go(user_ids)
            await self._sleep(0)

    async def _keep(self, lease: Lease) -> list[str]:
        changed: list[str] = []
        for users in self._up(lease):
            changed += self._writer.keep(users)
            await self._sleep(0)
        return changed

    async def _mend(self, lease: Lease, user_ids: list[str]) -> None:
        for users in self._up(lease, user_ids):
            await self._writer.show(users)

    def _up(self, lease: Lease, user_ids: list[str] | None = None) -> Iterator[dict[str, Shown]]:
        """Users under ``lease`` in portions, each as it is when it is asked for: requests may have come in between."""
        for portion in _portions(list(lease.users) if user_ids is None else user_ids):
            if not self._leases.is_live(lease):
                return
            yield {user_id: lease.users[user_id] for user_id in portion if user_id in lease.users}


def _portions(user_ids: list[str]) -> Iterator[list[str]]:
    rest = iter(user_ids)
    while portion := list(islice(rest, _AT_A_TIME)):
        yield portion
