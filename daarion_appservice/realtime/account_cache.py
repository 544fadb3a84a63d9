"""The account cache: the links between citizens and Matrix accounts, and the erased ids, in memory.

They are reloaded after changes by any process.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..city.events import SelfChanged
from ..city.identity import Identities
from ..city.ports import Publish
from ..storage.database import Database
from .worker import Worker

_POLL_S: Final = 2.0
"""Polling period in seconds: how soon a link of another process takes effect if its event is lost."""


class AccountCache:
    """Loads the links and the erased ids from the database, and keeps them current.

    Args:
        identities: holds both in memory.
        publish_local: publishes an event in this process only: each process loads the links itself.
    """

    def __init__(self, database: Database, identities: Identities, publish_local: Publish) -> None:
        self._database = database
        self._identities = identities
        self._publish_local = publish_local
        self._version = -1
        self._loading = asyncio.Lock()
        self._worker = Worker("accounts", idle_s=_POLL_S)

    async def load(self) -> None:
        """Reload the links if they changed, and publish a ``SelfChanged`` for each citizen with another self."""
        # Loads run one at a time, so that an older state never replaces a newer one.
        async with self._loading:
            async with self._database.read_only() as tx:
                version = await tx.key_values.accounts_version()
                if version == self._version:
                    return
                accounts = await tx.accounts.all()
                erased = await tx.erasures.erased_ids()
            self._identities.erased.replace(erased)
            changed = self._identities.accounts.replace(accounts)
            self._version = version
        for citizen in changed:
            self._publish_local(SelfChanged(citizen))

    def wake(self) -> None:
        """Make ``run`` reload the links now."""
        self._worker.wake()

    async def run(self) -> None:
        """Reload after changes, until cancelled."""
        await self._worker.run(self.load, waits_first=True)
