"""Where agents live: nodes with their Guardian and Steward, microDAOs with their Orchestrator, and the districts of both.

Who looks after a place is said by the agents: by their role there. An agent has one role on its node (``node_role``) and
another in its microDAO (``microdao_role``). ``role`` says both where one word is enough: "guardian" and "steward" are roles
on a node, "orchestrator" is one in a microDAO, any other word is the agent's role in either.

A place is there as soon as somebody describes it, or an agent says that it lives there.
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
    NODE = "node"
    MICRODAO = "microdao"
    DISTRICT = "district"


@dataclass(frozen=True, slots=True)
class Place:
    """``id`` is a microDAO's slug, too. A district has neither a description nor a district."""

    kind: PlaceKind
    id: str
    name: str
    description: str = ""
    district: str = ""


def node_role(agent: Agent) -> str:
    """What an agent is on its node; empty for nothing."""
    return agent.node_role or _said_by_role(agent, agent.node_id, _IN_MICRODAOS)


def microdao_role(agent: Agent) -> str:
    """What an agent is in its microDAO; empty for nothing."""
    return agent.microdao_role or _said_by_role(agent, agent.microdao, _ON_NODES)


def main_role(agent: Agent) -> str:
    """One word for what an agent is."""
    return agent.role or agent.node_role or agent.microdao_role


def has_role(agent: Agent, role: str) -> bool:
    """Whether an agent is that anywhere."""
    return role in {agent.role, agent.node_role, agent.microdao_role}


def _said_by_role(agent: Agent, place: str, elsewhere: frozenset[str]) -> str:
    return agent.role if place and agent.role.lower() not in elsewhere else ""


class PlaceDirectory:
    """Every place, and who lives there. Replaced as a whole when what is stored changes."""

    def __init__(self) -> None:
        self._places: Mapping[PlaceKind, Mapping[str, Place]] = {kind: {} for kind in PlaceKind}
        self._agents: Mapping[PlaceKind, Mapping[str, list[Agent]]] = {kind: {} for kind in PlaceKind}
        self.unlisted_rooms: frozenset[str] = frozenset()
        """Slugs of rooms; that an agent lives there is not told."""

    def replace(self, described: Iterable[Place], agents: Iterable[Agent], unlisted_rooms: Iterable[str] = ()) -> None:
        """Take these as all that is described, as all agents there are, and as all rooms of which not everybody may know."""
        self.unlisted_rooms = frozenset(unlisted_rooms)
        residents = sorted(agents, key=lambda agent: agent.slug)
        places: dict[PlaceKind, dict[str, Place]] = {kind: {} for kind in PlaceKind}
        for place in described:
            places[place.kind][place.id] = place
        for agent in residents:
            _know(places, PlaceKind.NODE, agent.node_id)
            _know(places, PlaceKind.MICRODAO, agent.microdao)
            _know(places, PlaceKind.DISTRICT, agent.district)
        for place in [*places[PlaceKind.NODE].values(), *places[PlaceKind.MICRODAO].values()]:
            _know(places, PlaceKind.DISTRICT, place.district)
        self._places = {kind: dict(sorted(known.items())) for kind, known in places.items()}
        self._agents = self._by_place(residents)

    def _by_place(self, residents: list[Agent]) -> dict[PlaceKind, dict[str, list[Agent]]]:
        found: dict[PlaceKind, dict[str, list[Agent]]] = {kind: defaultdict(list) for kind in PlaceKind}
        for agent in residents:
            found[PlaceKind.NODE][agent.node_id].append(agent)
            found[PlaceKind.MICRODAO][agent.microdao].append(agent)
            found[PlaceKind.DISTRICT][self.district_of(agent)].append(agent)
        return {kind: dict(places) for kind, places in found.items()}

    def all(self, kind: PlaceKind) -> list[Place]:
        """In the order of their ids."""
        return list(self._places[kind].values())

    def find(self, kind: PlaceKind, place_id: str) -> Place:
        """Raises NotFound."""
        place = self._places[kind].get(place_id)
        if place is None:
            raise NotFound(f"no_such_{kind}", f"there is no {WORDS[kind]} {place_id!r}")
        return place

    def within(self, kind: PlaceKind, district: str) -> list[Place]:
        """The nodes, or microDAOs, of a district."""
        return [place for place in self._places[kind].values() if place.district == district]

    def agents_of(self, place: Place) -> list[Agent]:
        """Who lives there, in the order of their slugs."""
        return self._agents[place.kind].get(place.id, [])

    def holder(self, place: Place, role: str) -> Agent | None:
        """Who has this role in that place: the first in the order of their slugs, if there are several."""
        role_of = node_role if place.kind is PlaceKind.NODE else microdao_role
        return next((agent for agent in self.agents_of(place) if role_of(agent).lower() == role), None)

    def district_of(self, agent: Agent) -> str:
        """Its own, else its node's, else its microDAO's; empty for none."""
        if agent.district:
            return agent.district
        homes = (
            self._places[PlaceKind.NODE].get(agent.node_id),
            self._places[PlaceKind.MICRODAO].get(agent.microdao),
        )
        return next((home.district for home in homes if home is not None and home.district), "")


WORDS: Final = {PlaceKind.NODE: "node", PlaceKind.MICRODAO: "microDAO", PlaceKind.DISTRICT: "district"}


def _know(places: dict[PlaceKind, dict[str, Place]], kind: PlaceKind, place_id: str) -> None:
    """A place that was only named is called by its id."""
    if place_id:
        places[kind].setdefault(place_id, Place(kind, place_id, place_id))
