"""The directory cache: agents, places and tokens in memory, reloaded after changes by any process."""

from __future__ import annotations

import asyncio
from typing import Final

from ..city.agents import AgentDirectory
from ..city.events import RegistryChanged
from ..city.places import PlaceDirectory
from ..city.ports import Publish
from ..city.tokens import TokenDirectory
from ..storage.database import Database
from .worker import Worker

_POLL_S: Final = 2.0
"""Polling period in seconds: how soon an agent added, or a token revoked, on the command line takes effect."""


class DirectoryCache:
    """Loads the directories from the database and keeps them current."""

    def __init__(
        self,
        database: Database,
        publish: Publish,
        agents: AgentDirectory,
        places: PlaceDirectory,
        tokens: TokenDirectory,
    ) -> None:
        self._database = database
        self._publish = publish
        self._agents = agents
        self._places = places
        self._tokens = tokens
        self._version = -1
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Reload agents, places and tokens if they changed, and then publish RegistryChanged."""
        # Loads run one at a time, so that an older state never replaces a newer one.
        async with self._loading, self._database.read_only() as tx:
            version = await tx.key_values.registry_version()
            if version == self._version:
                return
            agents = await tx.agents.all()
            unlisted = await tx.rooms.unlisted()
            self._places.replace(await tx.places.all(), agents, unlisted.values())
            self._agents.replace(agents)
            self._tokens.replace(await tx.agents.tokens())
            self._version = version
        self._publish(RegistryChanged())

    async def run(self) -> None:
        """Reload after changes, until cancelled."""
        await Worker("registry", idle_s=_POLL_S).run(self.load, waits_first=True)
