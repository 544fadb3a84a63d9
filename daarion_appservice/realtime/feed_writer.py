"""Writes the arrivals of agents into the feed. Only the leader does this."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ..city.agents import AgentDirectory
from ..city.events import PresenceChanged
from ..city.feed import FeedWriter
from ..city.ports import NewId, NowMs
from ..city.presence import Status
from ..city.types import AgentSlug, Author, AuthorKind
from ..errors import DatabaseError
from ..storage.database import Database

_START_TIME_S: Final = 60.0
"""Agents that come online within this time after the start were online before it, in seconds."""
_MIN_INTERVAL_MS: Final = 3_600_000
"""Time in which an agent whose connection is unstable gets one entry."""
_MAX_PENDING: Final = 1000

log = structlog.get_logger()


class AgentFeedWriter:
    """Adds a feed entry when an agent comes online."""

    def __init__(self, database: Database, agents: AgentDirectory, now_ms: NowMs, new_id: NewId) -> None:
        self._database = database
        self._agents = agents
        self._now_ms = now_ms
        self._feed = FeedWriter(new_id)
        self._written_at_ms: dict[AgentSlug, int] = {}
        self._arrivals: dict[AgentSlug, int] = {}
        self._wake = asyncio.Event()
        self._is_running = False

    def on_presence_changed(self, change: PresenceChanged) -> None:
        transition = change.transition
        kind, _, slug = transition.subject.partition(":")
        is_coming = transition.before.status is Status.OFFLINE and transition.after.status is not Status.OFFLINE
        if self._is_running and is_coming and kind == "agent" and len(self._arrivals) < _MAX_PENDING:
            self._arrivals[AgentSlug(slug)] = self._now_ms()
            self._wake.set()

    async def run(self) -> None:
        """Write the entries until cancelled."""
        await asyncio.sleep(_START_TIME_S)
        self._is_running = True
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                arrivals, self._arrivals = self._arrivals, {}
                await self._write({slug: at_ms for slug, at_ms in arrivals.items() if self._is_due(slug, at_ms)})
        finally:
            self._is_running = False

    def _is_due(self, slug: AgentSlug, at_ms: int) -> bool:
        written_at_ms = self._written_at_ms.get(slug)
        return self._agents.get(slug) is not None and (
            written_at_ms is None or at_ms - written_at_ms >= _MIN_INTERVAL_MS
        )

    async def _write(self, arrivals: dict[AgentSlug, int]) -> None:
        entries = [
            self._feed.agent_online(Author(AuthorKind.AGENT, slug, agent.display_name), at_ms)
            for slug, at_ms in arrivals.items()
            if (agent := self._agents.get(slug)) is not None
        ]
        try:
            async with self._database.transaction() as tx:
                await tx.feed.add(entries)
        except DatabaseError as error:
            log.debug("feed_not_written", error=str(error))  # an entry of the moment; the next one is written again
        else:
            self._written_at_ms |= arrivals
