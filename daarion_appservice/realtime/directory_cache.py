"""The directory cache: agents, places and tokens in memory, kept current after changes by any process.

    version of the registry ─► the same as before? nothing is read
                                 └no─► agents and tokens that were changed since, by the version stored with each
                                       ├─► an agent was removed since? slugs and tokens of all agents, in pages
                                       └─► an older release changed something since? all agents and tokens, in pages

A missed event loses no change: versions say what changed, so it is read after the next event. All agents
are grouped again only when the description of a place changes. Reading and grouping pause after each page, so that the
event loop is not held.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..city.agents import AgentDirectory
from ..city.events import RegistryChanged
from ..city.places import Place, PlaceDirectory
from ..city.ports import Publish
from ..city.tokens import TokenDirectory
from ..city.types import AgentSlug
from ..storage.agents import PAGE
from ..storage.database import Database, Transaction
from ..storage.parameter_lists import parts
from .worker import Worker

_POLL_S: Final = 2.0
"""Polling period in seconds: how soon an agent added, or a token revoked, on the command line takes effect."""
_REMOVED_AT_ONCE: Final = 100
"""Agents that are removed before other tasks run: each removal from the sorted list of slugs takes time linear in its length."""


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
        self._described: list[Place] = []
        self._version = -1
        """The version of the registry whose changes are all applied; later ones may be."""
        self._untracked = 0
        """The number of changes until then whose rows do not carry their version."""
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Apply the changes of agents, places and tokens since the last call, if any, and then publish RegistryChanged."""
        # Loads run one at a time, so that an older state never replaces a newer one.
        async with self._loading, self._database.read_only() as tx:
            changes = await tx.key_values.registry_changes()
            if changes.version == self._version:
                return
            are_all_tracked = changes.untracked == self._untracked
            since = self._version if are_all_tracked else -1
            are_removed = bool(self._agents) and (
                not are_all_tracked or await tx.key_values.removal_version() > self._version
            )
            if self._version >= 0:
                # First, because the other steps take seconds for 100,000 agents.
                await self._revoke_tokens(tx, since=since, are_agents_removed=are_removed)
            await self._describe_places(tx)
            if are_removed:
                await self._remove_agents(tx)
            await self._change_agents(tx, since=since)
            await self._change_tokens(tx, self._tokens, since=since)
            self._version, self._untracked = changes.version, changes.untracked
        self._publish(RegistryChanged())

    async def run(self) -> None:
        """Apply changes until cancelled."""
        await Worker("registry", idle_s=_POLL_S).run(self.load, waits_first=True)

    async def _describe_places(self, tx: Transaction) -> None:
        self._places.unlisted_rooms = frozenset((await tx.rooms.unlisted()).values())
        described = await tx.places.all()
        if described == self._described:
            return
        regrouped = PlaceDirectory()
        regrouped.describe(described)
        for slugs in parts(self._agents.slugs(), PAGE):
            for agent in map(self._agents.get, slugs):
                regrouped.change_agent(None, agent)
            await asyncio.sleep(0)
        self._places.adopt(regrouped)
        self._described = described

    async def _remove_agents(self, tx: Transaction) -> None:
        """Remove the agents that are not stored any more."""
        stored: set[AgentSlug] = set()
        page = await tx.agents.slugs()
        while page:
            stored.update(page)
            page = await tx.agents.slugs(page[-1])
        for slugs in parts(self._agents.slugs(), _REMOVED_AT_ONCE):
            for slug in slugs:
                if slug not in stored:
                    self._places.change_agent(self._agents.remove(slug), None)
            await asyncio.sleep(0)

    async def _change_agents(self, tx: Transaction, *, since: int) -> None:
        page = await tx.agents.changed_since(since)
        while page:
            for agent in page:
                self._places.change_agent(self._agents.put(agent), agent)
            await asyncio.sleep(0)
            page = await tx.agents.changed_since(since, page[-1].slug)

    async def _revoke_tokens(self, tx: Transaction, *, since: int, are_agents_removed: bool) -> None:
        """Remove the tokens that are not valid any more; new ones are added after their agents.

        Args:
            tx: the connection to read with.
            since: the version of the registry whose changes are applied.
            are_agents_removed: whether agents were removed since, with their tokens.
        """
        page = await tx.agents.tokens_changed_since(since)
        while page:
            for changed in page:
                if changed.is_revoked:
                    self._tokens.remove(changed.token.id)
            await asyncio.sleep(0)
            page = await tx.agents.tokens_changed_since(since, page[-1].token.id)
        if are_agents_removed:
            # An agent that was removed and added again has lost its tokens.
            valid = TokenDirectory()
            await self._change_tokens(tx, valid, since=-1)
            self._tokens.retain(valid)

    async def _change_tokens(self, tx: Transaction, tokens: TokenDirectory, *, since: int) -> None:
        page = await tx.agents.tokens_changed_since(since)
        while page:
            for changed in page:
                if changed.is_revoked:
                    tokens.remove(changed.token.id)
                else:
                    tokens.put(changed.token)
            await asyncio.sleep(0)
            page = await tx.agents.tokens_changed_since(since, page[-1].token.id)
