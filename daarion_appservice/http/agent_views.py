"""Builds the responses with agents and their presence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..city.identity import Identities
from ..city.places import PlaceDirectory, main_role, microdao_role, node_role
from ..city.ports import NowMs, PresenceStore
from ..city.presence import PresenceState
from ..city.types import Agent, UserId, agent_subject
from . import schemas
from .agent_avatars import AgentAvatars
from .presence_views import presence_fields


@dataclass(frozen=True, slots=True)
class AgentViews:
    """Builds the responses of agents.

    Attributes:
        now_ms: the clock of presence.
    """

    presence: PresenceStore
    places: PlaceDirectory
    identities: Identities
    avatars: AgentAvatars
    now_ms: NowMs

    def presence_of(self, agent: Agent, state: PresenceState | None = None) -> schemas.AgentPresence:
        """Return the presence of an agent: ``state``, or by default the current one."""
        if state is None:
            state = self.presence.state(agent_subject(agent.slug))
        return {
            "agent_id": agent.id,
            "display_name": agent.display_name,
            "matrix_user_id": self.identities.agent(agent.slug),
            **presence_fields(state, self.now_ms()),
        }

    async def one(self, agent: Agent) -> schemas.Agent:
        return self._agent(agent, await self.avatars.all())

    async def many(self, agents: Iterable[Agent]) -> list[schemas.Agent]:
        avatars = await self.avatars.all()
        return [self._agent(agent, avatars) for agent in agents]

    def _agent(self, agent: Agent, avatars: Mapping[UserId, str | None]) -> schemas.Agent:
        return {
            "id": agent.id,
            "slug": agent.slug,
            **self.presence_of(agent),
            "title": agent.title or None,
            "kind": agent.kind or None,
            # The path of a local file is not published.
            "avatar": agent.avatar if agent.avatar.startswith("mxc://") else None,
            "avatar_url": avatars.get(self.identities.agent(agent.slug)),
            "color": agent.color or None,
            "node_id": agent.node_id or None,
            "node_role": node_role(agent) or None,
            "microdao": agent.microdao or None,
            "microdao_role": microdao_role(agent) or None,
            "role": main_role(agent) or None,
            "district": self.places.district_of(agent) or None,
            "rooms": [room for room in agent.rooms if room not in self.places.unlisted_rooms],
        }
