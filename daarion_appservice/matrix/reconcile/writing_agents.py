"""Gives the agents of rooms in which only moderators write the power level for writing.

The registry may put an agent into such a room after the moderators have closed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import structlog

from ...city.agents import AgentDirectory
from ...city.event_fields import Event
from ...city.identity import Identities
from ...city.moderation_rights import MAX_WRITING_AGENTS, MODERATOR_LEVEL, Writers, with_writing_agents, writers_of
from ...city.power_levels import RoomPowerLevels
from ...city.types import AgentSlug, Room, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.room_rules import change_levels
from .reconciled_rooms import matrix_room_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WritingAgents:
    """Compares the agents of the registry with the stored power levels; only a difference costs a request."""

    homeserver: Homeserver
    identities: Identities
    agents: AgentDirectory
    database: Database

    async def update(self, rooms: Iterable[Room]) -> None:
        """Give the level to the agents of linked rooms that have none; log a refusal.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        for room in rooms:
            # In a room with an error, the bot's power level may be too low.
            if room.archived or room.matrix_error is not None:
                continue
            powers = RoomPowerLevels(orjson.loads(room.power_levels))
            if writers_of(powers) is Writers.MODERATORS:
                await self._update(room, powers)

    def _has_change(self, powers: RoomPowerLevels, slugs: Iterable[AgentSlug]) -> bool:
        agents = [self.identities.agent(slug) for slug in slugs]
        return with_writing_agents(powers, agents, is_agent=self.identities.is_agent) != powers.content

    async def _update(self, room: Room, powers: RoomPowerLevels) -> None:
        slugs = self.agents.of_room(room)
        if len(slugs) > MAX_WRITING_AGENTS and self._has_change(powers, slugs):
            # Not all get a level: those who wrote last do.
            async with self.database.read_only() as tx:
                slugs = await tx.agent_messages.writers_first(room.id, slugs)
        agents = [self.identities.agent(slug) for slug in slugs]
        # Among them are creators of the room, for which no level may be set; the stored levels contain them.
        agents = [agent for agent in agents if powers.of(agent) < MODERATOR_LEVEL]

        def change(levels: RoomPowerLevels) -> Event:
            return with_writing_agents(levels, agents, is_agent=self.identities.is_agent)

        try:
            changed = await change_levels(
                self.homeserver, matrix_room_of(room), powers, change, as_user=self.identities.bot
            )
        except HomeserverRefused as error:
            log.warning("agents_level_refused", room=room.slug, error=str(error), help="trying again in the next pass")
            return
        if changed is not powers and (silent := _without_level(changed, agents)):
            log.warning(
                "agents_not_writing",
                room=room.slug,
                agents=len(silent),
                help="a room has levels for a limited number of agents: let fewer into it, or let everyone write",
            )


def _without_level(powers: RoomPowerLevels, agents: Iterable[UserId]) -> list[UserId]:
    """Return the agents that have no level of their own and may not write by that of the city."""
    own = powers.content.get("users") or {}
    is_closed_by_city = powers.to_send("m.room.message") < MODERATOR_LEVEL
    return [agent for agent in agents if agent not in own] if is_closed_by_city else []
