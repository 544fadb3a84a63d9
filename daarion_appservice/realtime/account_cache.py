"""The account cache: the links between citizens and Matrix accounts, chosen profiles and the erased ids, in memory.

They are reloaded after changes by any process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ..city.events import CanonicalSubjectChanged, ProfileChanged
from ..city.identity import Identities
from ..city.ports import Publish
from ..city.types import citizen_subject
from ..storage.database import Database
from .worker import Worker

_POLL_S: Final = 2.0
"""Polling period in seconds: how soon a link of another process takes effect if its event is lost."""


class AccountCache:
    """Loads the links and the erased ids from the database, and keeps them current.

    Args:
        identities: holds both in memory.
        publish_local: publishes an event in this process only: each process loads the links itself.
        on_erased: called when other ids are erased than before, so that nothing in memory has their names.
    """

    def __init__(
        self,
        database: Database,
        identities: Identities,
        publish_local: Publish,
        on_erased: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._identities = identities
        self._publish_local = publish_local
        self._on_erased = on_erased
        self._version = -1
        self._loading = asyncio.Lock()
        self._worker = Worker("accounts", idle_s=_POLL_S)

    async def load(self) -> None:
        """Reload the links if they changed, and publish an event for each citizen with another canonical
        subject, name or picture."""
        # Loads run one at a time, so that an older state never replaces a newer one.
        async with self._loading:
            async with self._database.read_only() as tx:
                version = await tx.key_values.accounts_version()
                if version == self._version:
                    return
                accounts = await tx.accounts.all()
                erased = await tx.erasures.erased_ids()
                # The profiles of erased citizens are deleted rows, which no query for changed rows finds.
                is_first, are_erased_equal = self._version < 0, self._identities.erased.is_equal(erased)
                are_all = is_first or not are_erased_equal
                profiles = await tx.citizens.profiles(after=-1 if are_all else self._version)
            self._identities.erased.replace(erased)
            before = [self._identities.accounts.of_citizen(account.citizen) for account in accounts]
            changed = self._identities.accounts.replace(accounts)
            profile_changes = self._identities.accounts.set_profiles(profiles, are_all=are_all)
            profile_changes += [
                citizen_subject(new.citizen) for old, new in zip(before, accounts, strict=True) if old and old != new
            ]
            self._version = version
        if not (is_first or are_erased_equal):
            self._on_erased()
        for citizen in changed:
            self._publish_local(CanonicalSubjectChanged(citizen))
        for citizen in profile_changes:
            self._publish_local(ProfileChanged(citizen))

    def wake(self) -> None:
        """Make ``run`` reload the links now."""
        self._worker.wake()

    async def run(self) -> None:
        """Reload after changes, until cancelled."""
        await self._worker.run(self.load, waits_first=True)
