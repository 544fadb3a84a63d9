"""Schedules the sweeps, besides those at each start and after each time that the homeserver was unavailable.

    every ``homeserver.sweep_s``, and when echoes do not arrive    the city's rooms
    when events were missing there                                 all agents' direct chats and invitations
    within five minutes                                            each agent's, evenly distributed over that time

Measured on Synapse 1.163 with SQLite: a sweep without new events takes it 5 ms, one with 130 events 7 ms.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

from ...city.agents import AgentDirectory
from ...city.ports import NowMs
from ...city.types import AgentSlug
from ...realtime.worker import Worker
from ..client.monitor import HomeserverMonitor
from .gap_backfill import GapBackfill
from .metrics import Missed

_AGENT_ROUND_S: Final = 300.0
_SHORTEST_PAUSE_S: Final = 0.5
"""The shortest time between two steps: with more than 600 agents, each sweeps several."""


class Sweeper:
    """Sweeps for as long as this process is the leader.

    ``every_s`` is the interval in seconds between two sweeps of the city's rooms.
    """

    def __init__(
        self,
        gap_backfill: GapBackfill,
        monitor: HomeserverMonitor,
        agents: AgentDirectory,
        steady_ms: NowMs,
        *,
        every_s: float,
    ) -> None:
        self._gap_backfill = gap_backfill
        self._agents = agents
        self._steady_ms = steady_ms
        self._every_s = every_s
        self._worker = Worker("sweeper", idle_s=None, monitor=monitor)
        self._city_due_s = float("-inf")
        """When the city's rooms are swept next, on the clock ``steady_ms``."""
        self._are_all_due = True
        self._round: deque[AgentSlug] = deque()
        """The agents that the current round has not swept yet."""
        self._agents_per_step = 1
        self._pause_s = every_s
        """The seconds between two steps, so that a round is evenly distributed over its time."""
        self._missing = 0
        """The number of missing events since the last sweep of the city's rooms began."""
        self.deliveries = "ok"
        """The result of the last sweeps for the health report: "ok", or a sentence with the number of missing events."""
        monitor.on_silence(self._sweep_now)

    def _sweep_now(self) -> None:
        self._city_due_s = float("-inf")
        self._worker.wake()

    async def run(self) -> None:
        """Sweep periodically until cancelled. Can be called again."""
        self.deliveries = "ok"
        # The inbound worker's first backfill, which blocks the inbox, leaves out the agents without chats.
        self._are_all_due, self._city_due_s = True, float("-inf")
        await self._worker.run(self._step)

    async def _step(self) -> float:
        """Sweep what is due; return the seconds until the next step."""
        now_s = self._steady_ms() / 1000
        if now_s >= self._city_due_s:
            # Before the sweep: an echo that does not arrive meanwhile asks for another one.
            self._city_due_s = now_s + self._every_s
            self._missing = 0
            try:
                await self._sweep_city()
            except Exception:
                self._city_due_s = float("-inf")
                raise
        await self._sweep_agents(self._next_agents())
        missing = self._missing
        self.deliveries = f"{missing} events came by no transaction, and were fetched" if missing else "ok"
        return self._pause_s

    async def _sweep_city(self) -> None:
        missing = await self._gap_backfill.sweep_city(Missed.WORKER)
        self._missing += missing
        if missing or self._are_all_due:
            self._missing += await self._gap_backfill.sweep_agents(self._agents.slugs(), Missed.WORKER)
            self._are_all_due = False

    async def _sweep_agents(self, agents: list[AgentSlug]) -> None:
        missing = await self._gap_backfill.sweep_agents(agents, Missed.WORKER)
        if missing:
            # The delivery to others may have failed, too.
            missing += await self._gap_backfill.run(Missed.WORKER)
        self._missing += missing

    def _next_agents(self) -> list[AgentSlug]:
        """Take the agents that are swept next from the round, after whose end another one begins.

        A sweep of all agents at once would delay other requests, each of which takes the homeserver some milliseconds.
        """
        if not self._round:
            self._round.extend(self._agents.slugs())
            agent_s = _AGENT_ROUND_S / max(1, len(self._round))
            self._agents_per_step = ceil(_SHORTEST_PAUSE_S / agent_s)
            self._pause_s = min(self._every_s, self._agents_per_step * agent_s)
        return [self._round.popleft() for _ in range(min(self._agents_per_step, len(self._round)))]
