"""The agent directory: agents in memory, because thousands of heartbeats per second look them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import NotFound
from .places import has_role
from .types import AGENT_SUBJECT, Agent, AgentSlug, Author, AuthorKind, Room, SubjectId


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """A filter for lists of agents; an empty field matches every agent.

    ``role`` matches an agent's role, node role or microDAO role; ``q`` matches a part of slug, name or title.
    """

    node_id: str = ""
    microdao: str = ""
    role: str = ""
    q: str = ""
    kind: str = ""

    def matches(self, agent: Agent) -> bool:
        return (
            (not self.node_id or agent.node_id == self.node_id)
            and (not self.microdao or agent.microdao == self.microdao)
            and (not self.role or has_role(agent, self.role))
            and (not self.kind or agent.kind == self.kind)
            and (not self.q or self.q.lower() in f"{agent.slug}\n{agent.display_name}\n{agent.title}".lower())
        )


class AgentDirectory:
    """All agents by slug and by id. The directory cache replaces its content when the stored agents change."""

    def __init__(self) -> None:
        self._by_slug: Mapping[str, Agent] = {}
        self._by_id: Mapping[str, Agent] = {}
        self._by_name: Mapping[str, Agent] = {}

    def replace(self, agents: Iterable[Agent]) -> None:
        """Replace all agents."""
        # The order does not depend on the database's collation.
        self._by_slug = {agent.slug: agent for agent in sorted(agents, key=lambda agent: agent.slug)}
        self._by_id = {agent.id: agent for agent in self._by_slug.values()}
        self._by_name = {agent.display_name.casefold(): agent for agent in self._by_slug.values()}

    def all(self) -> Iterable[Agent]:
        """Return all agents in the order of their slugs."""
        return self._by_slug.values()

    def get(self, slug: AgentSlug) -> Agent | None:
        return self._by_slug.get(slug)

    def by_name(self, display_name: str) -> Agent | None:
        return self._by_name.get(display_name.casefold())

    def by_subject(self, subject: SubjectId) -> Agent | None:
        slug = subject.removeprefix(AGENT_SUBJECT)
        return self._by_slug.get(slug) if slug != subject else None

    def is_assigned_to(self, who: Author, room: Room) -> bool:
        """Whether the author is an agent, and the room one of its rooms in the registry."""
        agent = self.get(AgentSlug(who.id)) if who.kind is AuthorKind.AGENT else None
        return agent is not None and room.slug in agent.rooms

    def find(self, id_or_slug: str) -> Agent:
        """Return the agent with this id or slug. Raises NotFound."""
        agent = self._by_slug.get(id_or_slug) or self._by_id.get(id_or_slug)
        if agent is None:
            raise NotFound("no_such_agent", f"there is no agent {id_or_slug!r}")
        return agent
