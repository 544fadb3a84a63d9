"""Writes the names and pictures that citizens choose into the profiles of their ghosts on Matrix.

    start, ProfileChanged ─► pending citizens ─► the ghost's profile, if the homeserver knows the ghost

A ghost that is not registered yet gets its profile with its first message.
"""

from __future__ import annotations

from typing import Final

import structlog

from ...city.events import ProfileChanged
from ...city.identity import Identities
from ...city.types import Author, AuthorKind, CitizenId
from ...errors import HomeserverRefused
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_transient
from ..ghosts.ghosts import Ghosts
from ..ghosts.profiles import citizen_profile

_RETRY_S: Final = 10.0

log = structlog.get_logger()


class CitizenGhosts:
    """Keeps the profiles of citizens' ghosts equal to the chosen ones."""

    def __init__(self, database: Database, monitor: HomeserverMonitor, ghosts: Ghosts, identities: Identities) -> None:
        self._database = database
        self._ghosts = ghosts
        self._identities = identities
        self._pending: set[CitizenId] = set()
        self._worker = Worker("citizen_ghosts", idle_s=None, monitor=monitor)

    def on_profile_changed(self, change: ProfileChanged) -> None:
        """Write the profile of a citizen; called by the bus."""
        self._pending.add(CitizenId(change.citizen))
        self._worker.wake()

    async def run(self) -> None:
        """Write all chosen profiles, then changed ones, until cancelled."""
        self._pending.update(self._identities.accounts.citizens_with_profile())
        await self._worker.run(self._write_pending)

    async def _write_pending(self) -> float | None:
        """Write the pending profiles. Returns the pause after a refusal that concerns the whole homeserver, in seconds."""
        postponed: set[CitizenId] = set()
        try:
            while self._pending:
                # Removed before the write: a change during the write adds the citizen again.
                citizen = self._pending.pop()
                postponed.add(citizen)
                if await self._is_done(citizen):
                    postponed.discard(citizen)
        finally:
            self._pending |= postponed
        return _RETRY_S if postponed else None

    async def _is_done(self, citizen: CitizenId) -> bool:
        """Write a profile; return False if the homeserver refuses it for a while."""
        try:
            await self._write(citizen)
        except HomeserverRefused as error:
            log.warning("citizen_profile_refused", citizen=citizen, error=str(error))
            return not is_transient(error)
        return True

    async def _write(self, citizen: CitizenId) -> None:
        ghost = self._identities.citizen(citizen)
        if not self._ghosts.is_known(ghost) or self._identities.erased.is_closed(citizen):
            return
        async with self._database.read_only() as tx:
            names = await tx.citizens.names([citizen])
        # The name in a token is stored with heartbeats only; a ghost has it from its messages, too.
        name = names.get(citizen) or self._ghosts.display_name(ghost) or citizen
        author = Author(AuthorKind.CITIZEN, citizen, name)
        await self._ghosts.ensure(ghost, citizen_profile(self._identities.accounts, author))
