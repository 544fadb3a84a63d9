"""The agent directory: agents in memory, because thousands of heartbeats per second look them up."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterable
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
    """All agents by slug and by id. The directory cache applies the changes of the stored agents."""

    def __init__(self) -> None:
        self._by_slug: dict[str, Agent] = {}
        self._by_id: dict[str, Agent] = {}
        self._slugs: list[AgentSlug] = []
        """Sorted here, independently of the database's collation."""
        self._slugs_by_name: dict[str, list[str]] = {}

    def replace(self, agents: Iterable[Agent]) -> None:
        """Replace all agents."""
        for slug in list(self._by_slug):
            self.remove(slug)
        for agent in agents:
            self.put(agent)

    def put(self, agent: Agent) -> Agent | None:
        """Add an agent, or replace the one with its slug; return the replaced one."""
        before = self.remove(agent.slug, keeps_place=True)
        if before is None:
            insort(self._slugs, agent.slug)
        self._by_slug[agent.slug] = agent
        self._by_id[agent.id] = agent
        insort(self._slugs_by_name.setdefault(_comparable(agent.display_name), []), agent.slug)
        return before

    def remove(self, slug: str, *, keeps_place: bool = False) -> Agent | None:
        """Remove an agent and return it; None if there is none.

        Args:
            slug: the slug of the agent.
            keeps_place: whether the agent is added again, so that its slug stays in the order.
        """
        agent = self._by_slug.pop(slug, None)
        if agent is None:
            return None
        if self._by_id.get(agent.id) is agent:
            del self._by_id[agent.id]
        name = _comparable(agent.display_name)
        self._slugs_by_name[name].remove(slug)
        if not self._slugs_by_name[name]:
            del self._slugs_by_name[name]
        if not keeps_place:
            del self._slugs[bisect_left(self._slugs, slug)]
        return agent

    def __len__(self) -> int:
        return len(self._slugs)

    def all(self) -> list[Agent]:
        """Return all agents in the order of their slugs."""
        return [self._by_slug[slug] for slug in self._slugs]

    def slugs(self) -> list[AgentSlug]:
        """Return the slugs of all agents in their order."""
        return [*self._slugs]

    def get(self, slug: AgentSlug) -> Agent | None:
        return self._by_slug.get(slug)

    def by_name(self, display_name: str) -> Agent | None:
        slugs = self._slugs_by_name.get(_comparable(display_name))
        return self._by_slug[slugs[-1]] if slugs else None

    def by_subject(self, subject: SubjectId) -> Agent | None:
        slug = subject.removeprefix(AGENT_SUBJECT)
        return self._by_slug.get(slug) if slug != subject else None

    def is_assigned_to(self, who: Author, room: Room) -> bool:
        """Return whether the author is an agent, and the room one of its rooms in the registry."""
        agent = self.get(AgentSlug(who.id)) if who.kind is AuthorKind.AGENT else None
        return agent is not None and room.slug in agent.rooms

    def of_room(self, room: Room) -> list[AgentSlug]:
        """Return the agents whose room in the registry this is, in the order of their slugs."""
        return [AgentSlug(slug) for slug in self._slugs if room.slug in self._by_slug[slug].rooms]

    def find(self, id_or_slug: str) -> Agent:
        """Return the agent with this id or slug. Raises NotFound."""
        agent = self._by_slug.get(id_or_slug) or self._by_id.get(id_or_slug)
        if agent is None:
            raise NotFound("no_such_agent", f"there is no agent {id_or_slug!r}")
        return agent


def _comparable(name: str) -> str:
    """Return a name in a form independent of case and of composition: macOS writes ``й`` as two characters."""
    return unicodedata.normalize("NFC", name).casefold()
