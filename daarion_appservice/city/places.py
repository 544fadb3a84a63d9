"""Places of agents: nodes with Guardian and Steward, microDAOs with an Orchestrator, and their districts.

Agents define who is responsible for a place: by their role there. An agent has one role on its node (``node_role``) and
another in its microDAO (``microdao_role``). ``role`` is enough where one word defines both: "guardian" and "steward"
are roles on a node, "orchestrator" is one in a microDAO, any other word is the agent's role in either.

A place exists as soon as the registry describes it or an agent refers to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import NotFound
from .types import Agent

GUARDIAN: Final = "guardian"
STEWARD: Final = "steward"
ORCHESTRATOR: Final = "orchestrator"

_ON_NODES: Final = frozenset({GUARDIAN, STEWARD})
_IN_MICRODAOS: Final = frozenset({ORCHESTRATOR})


class PlaceKind(StrEnum):
    """The kinds of places."""

    NODE = "node"
    MICRODAO = "microdao"
    DISTRICT = "district"


@dataclass(frozen=True, slots=True)
class Place:
    """A node, microDAO or district.

    ``id`` is also the slug of a microDAO. A district has no description and no district.
    """

    kind: PlaceKind
    id: str
    name: str
    description: str = ""
    district: str = ""


def node_role(agent: Agent) -> str:
    """Return an agent's role on its node; empty for none."""
    return agent.node_role or _implied_role(agent, agent.node_id, _IN_MICRODAOS)


def microdao_role(agent: Agent) -> str:
    """Return an agent's role in its microDAO; empty for none."""
    return agent.microdao_role or _implied_role(agent, agent.microdao, _ON_NODES)


def main_role(agent: Agent) -> str:
    """Return one word for an agent's role."""
    return agent.role or agent.node_role or agent.microdao_role


def has_role(agent: Agent, role: str) -> bool:
    """Whether an agent has this role on its node or in its microDAO."""
    return role in {agent.role, agent.node_role, agent.microdao_role}


def _implied_role(agent: Agent, place: str, elsewhere: frozenset[str]) -> str:
    return agent.role if place and agent.role.lower() not in elsewhere else ""


class PlaceDirectory:
    """All places and their agents. The directory cache replaces its content when the stored rows change."""

    def __init__(self) -> None:
        self._places: Mapping[PlaceKind, Mapping[str, Place]] = {kind: {} for kind in PlaceKind}
        self._agents: Mapping[PlaceKind, Mapping[str, list[Agent]]] = {kind: {} for kind in PlaceKind}
        self.unlisted_rooms: frozenset[str] = frozenset()
        """Slugs of rooms that are not public; lists of agents' rooms leave them out."""

    def replace(self, described: Iterable[Place], agents: Iterable[Agent], unlisted_rooms: Iterable[str] = ()) -> None:
        """Replace all described places, all agents, and the slugs of all rooms that are not public."""
        self.unlisted_rooms = frozenset(unlisted_rooms)
        sorted_agents = sorted(agents, key=lambda agent: agent.slug)
        places: dict[PlaceKind, dict[str, Place]] = {kind: {} for kind in PlaceKind}
        for place in described:
            places[place.kind][place.id] = place
        for agent in sorted_agents:
            _add_undescribed(places, PlaceKind.NODE, agent.node_id)
            _add_undescribed(places, PlaceKind.MICRODAO, agent.microdao)
            _add_undescribed(places, PlaceKind.DISTRICT, agent.district)
        for place in [*places[PlaceKind.NODE].values(), *places[PlaceKind.MICRODAO].values()]:
            _add_undescribed(places, PlaceKind.DISTRICT, place.district)
        self._places = {kind: dict(sorted(known.items())) for kind, known in places.items()}
        self._agents = self._by_place(sorted_agents)

    def _by_place(self, sorted_agents: list[Agent]) -> dict[PlaceKind, dict[str, list[Agent]]]:
        found: dict[PlaceKind, dict[str, list[Agent]]] = {kind: defaultdict(list) for kind in PlaceKind}
        for agent in sorted_agents:
            found[PlaceKind.NODE][agent.node_id].append(agent)
            found[PlaceKind.MICRODAO][agent.microdao].append(agent)
            found[PlaceKind.DISTRICT][self.district_of(agent)].append(agent)
        return {kind: dict(places) for kind, places in found.items()}

    def all(self, kind: PlaceKind) -> list[Place]:
        """Return the places of a kind in the order of their ids."""
        return list(self._places[kind].values())

    def find(self, kind: PlaceKind, place_id: str) -> Place:
        """Return a place. Raises NotFound."""
        place = self._places[kind].get(place_id)
        if place is None:
            raise NotFound(f"no_such_{kind}", f"there is no {PLACE_LABELS[kind]} {place_id!r}")
        return place

    def within(self, kind: PlaceKind, district: str) -> list[Place]:
        """Return the nodes or microDAOs of a district."""
        return [place for place in self._places[kind].values() if place.district == district]

    def agents_of(self, place: Place) -> list[Agent]:
        """Return the agents of a place in the order of their slugs."""
        return self._agents[place.kind].get(place.id, [])

    def holder(self, place: Place, role: str) -> Agent | None:
        """Return the agent with this role in a place: the first in the order of slugs if there are several."""
        role_of = node_role if place.kind is PlaceKind.NODE else microdao_role
        return next((agent for agent in self.agents_of(place) if role_of(agent).lower() == role), None)

    def district_of(self, agent: Agent) -> str:
        """Return the agent's own district, else its node's, else its microDAO's; empty for none."""
        if agent.district:
            return agent.district
        places = (
            self._places[PlaceKind.NODE].get(agent.node_id),
            self._places[PlaceKind.MICRODAO].get(agent.microdao),
        )
        return next((place.district for place in places if place is not None and place.district), "")


PLACE_LABELS: Final = {PlaceKind.NODE: "node", PlaceKind.MICRODAO: "microDAO", PlaceKind.DISTRICT: "district"}


def _add_undescribed(places: dict[PlaceKind, dict[str, Place]], kind: PlaceKind, place_id: str) -> None:
    """Add a place that only is referred to, with its id as its name."""
    if place_id:
        places[kind].setdefault(place_id, Place(kind, place_id, place_id))
