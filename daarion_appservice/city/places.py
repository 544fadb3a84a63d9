"""Places of agents: nodes with Guardian and Steward, microDAOs with an Orchestrator, and their districts.

Agents define who is responsible for a place: by their role there. An agent has one role on its node (``node_role``) and
another in its microDAO (``microdao_role``). ``role`` is enough where one word defines both: "guardian" and "steward"
are roles on a node, "orchestrator" is one in a microDAO, any other word is the agent's role in either.

A place exists as soon as the registry describes it or an agent refers to it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
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
    """Return whether an agent has this role on its node or in its microDAO."""
    return role in {agent.role, agent.node_role, agent.microdao_role}


def _implied_role(agent: Agent, place: str, elsewhere: frozenset[str]) -> str:
    return agent.role if place and agent.role.lower() not in elsewhere else ""


class PlaceDirectory:
    """All places and their agents. The directory cache applies the changes of the stored rows."""

    def __init__(self) -> None:
        self._described: Mapping[PlaceKind, Mapping[str, Place]] = {kind: {} for kind in PlaceKind}
        """The places that the registry describes, and the districts of these."""
        self._agents: dict[PlaceKind, dict[str, list[Agent]]] = {kind: {} for kind in PlaceKind}
        """The agents of each place that has any, in the order of their slugs."""
        self.unlisted_rooms: frozenset[str] = frozenset()
        """Slugs of rooms that are not public; lists of agents' rooms leave them out."""

    def replace(self, described: Iterable[Place], agents: Iterable[Agent], unlisted_rooms: Iterable[str] = ()) -> None:
        """Replace all described places, all agents, and the slugs of all rooms that are not public."""
        self.unlisted_rooms = frozenset(unlisted_rooms)
        self.describe(described)
        for agent in agents:
            self.change_agent(None, agent)

    def describe(self, described: Iterable[Place]) -> None:
        """Replace all described places, and remove all agents, whose districts may have changed."""
        places: dict[PlaceKind, dict[str, Place]] = {kind: {} for kind in PlaceKind}
        for place in described:
            places[place.kind][place.id] = place
        for place in [*places[PlaceKind.NODE].values(), *places[PlaceKind.MICRODAO].values()]:
            if place.district:
                places[PlaceKind.DISTRICT].setdefault(place.district, _undescribed(PlaceKind.DISTRICT, place.district))
        self._described = places
        self._agents = {kind: {} for kind in PlaceKind}

    def adopt(self, other: PlaceDirectory) -> None:
        """Replace described places and agents by those of another directory."""
        self._described, self._agents = other._described, other._agents

    def change_agent(self, before: Agent | None, after: Agent | None) -> None:
        """Apply the change of an agent; ``before`` is None for a new agent, ``after`` for a removed one."""
        if before is not None:
            for kind, place_id in self._places_of(before):
                agents = self._agents[kind][place_id]
                del agents[bisect_left(agents, str(before.slug), key=_slug)]
                if not agents:
                    del self._agents[kind][place_id]
        if after is not None:
            for kind, place_id in self._places_of(after):
                insort(self._agents[kind].setdefault(place_id, []), after, key=_slug)

    def _places_of(self, agent: Agent) -> list[tuple[PlaceKind, str]]:
        places = (
            (PlaceKind.NODE, agent.node_id),
            (PlaceKind.MICRODAO, agent.microdao),
            (PlaceKind.DISTRICT, self.district_of(agent)),
        )
        return [(kind, place_id) for kind, place_id in places if place_id]

    def all(self, kind: PlaceKind) -> list[Place]:
        """Return the places of a kind in the order of their ids."""
        ids = sorted(self._described[kind].keys() | self._agents[kind].keys())
        return [self._described[kind].get(place_id) or _undescribed(kind, place_id) for place_id in ids]

    def find(self, kind: PlaceKind, place_id: str) -> Place:
        """Return a place. Raises NotFound."""
        place = self._described[kind].get(place_id)
        if place is not None:
            return place
        if place_id not in self._agents[kind]:
            raise NotFound(f"no_such_{kind}", f"there is no {PLACE_LABELS[kind]} {place_id!r}")
        return _undescribed(kind, place_id)

    def within(self, kind: PlaceKind, district: str) -> list[Place]:
        """Return the nodes or microDAOs of a district."""
        return [place for place in self.all(kind) if place.district == district]

    def agents_of(self, place: Place) -> list[Agent]:
        """Return the agents of a place in the order of their slugs."""
        return list(self._agents[place.kind].get(place.id, ()))

    def holder(self, place: Place, role: str) -> Agent | None:
        """Return the agent with this role in a place: the first in the order of slugs if there are several."""
        role_of = node_role if place.kind is PlaceKind.NODE else microdao_role
        return next((agent for agent in self.agents_of(place) if role_of(agent).lower() == role), None)

    def district_of(self, agent: Agent) -> str:
        """Return the agent's own district, else its node's, else its microDAO's; empty for none."""
        if agent.district:
            return agent.district
        places = (
            self._described[PlaceKind.NODE].get(agent.node_id),
            self._described[PlaceKind.MICRODAO].get(agent.microdao),
        )
        return next((place.district for place in places if place is not None and place.district), "")


PLACE_LABELS: Final = {PlaceKind.NODE: "node", PlaceKind.MICRODAO: "microDAO", PlaceKind.DISTRICT: "district"}


def _undescribed(kind: PlaceKind, place_id: str) -> Place:
    """Return a place that is only referred to, with its id as its name."""
    return Place(kind, place_id, place_id)


def _slug(agent: Agent) -> str:
    return agent.slug
