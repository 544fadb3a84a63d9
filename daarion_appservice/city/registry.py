"""Registry editor: applies descriptions of agents and places, and removes them, each in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from ..errors import Conflict, NotFound
from .places import PLACE_LABELS, Place, PlaceKind
from .ports import CityStore, CityTransaction, NowMs
from .second_me import SECOND_ME
from .text_sanitizing import one_line
from .types import Agent, AgentSlug

AGENTS: Final = "agents"
SECTIONS: Final = {PlaceKind.DISTRICT: "districts", PlaceKind.NODE: "nodes", PlaceKind.MICRODAO: "microdaos"}
"""Names of the registry's sections of places."""

_MAX_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Description:
    """A registry or some of its sections.

    None for agents, and a missing kind of places, leaves that section as it is.
    """

    agents: tuple[Agent, ...] | None = None
    places: Mapping[PlaceKind, tuple[Place, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a description changes in one section of the registry: names, in the order of the description."""

    added: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]
    """In alphabetical order."""


Differences = dict[str, Difference]
"""The difference of each section, by its name."""


class RegistryEditor:
    """Changes the registry in the database."""

    def __init__(self, store: CityStore, now_ms: NowMs) -> None:
        self._store = store
        self._now_ms = now_ms

    async def compare(self, described: Description, *, remove_missing: bool = False) -> Differences:
        """Return what `merge` would change. Raises the same errors."""
        async with self._store.read_only() as tx:
            return (await _plan(tx, described, remove_missing=remove_missing)).differences

    async def merge(self, described: Description, *, remove_missing: bool = False) -> Differences:
        """Add and change what the description names; rows that are equal are not written.

        Args:
            described: The registry, or some of its sections.
            remove_missing: Remove agents and places that the described sections do not name.

        Returns:
            The changes of each section.

        Raises:
            Conflict: A place would be removed that agents or other places use.
        """
        async with self._store.transaction() as tx:
            plan = await _plan(tx, described, remove_missing=remove_missing)
            now_ms = self._now_ms()
            await tx.agents.put_all(plan.agents.to_write, now_ms=now_ms)
            await tx.agents.remove([AgentSlug(slug) for slug in plan.agents.removed], now_ms=now_ms)
            await tx.places.put_all([place for part in plan.places.values() for place in part.to_write])
            for kind, part in plan.places.items():
                await tx.places.remove(kind, part.removed)
        return plan.differences

    async def change_agent(self, slug: AgentSlug, changes: Mapping[str, Any]) -> Agent:
        """Change fields of an agent, by their names in ``Agent``; return the stored agent. Raises NotFound."""
        async with self._store.transaction() as tx:
            agent = await tx.agents.lock(slug)
            if agent is None:
                raise NotFound("no_such_agent", f"there is no agent {slug!r}")
            changed = _named_agent(replace(agent, **changes))
            if changed != agent:
                await tx.agents.put(changed, now_ms=self._now_ms())
        return changed

    async def remove_agent(self, slug: AgentSlug) -> None:
        """Remove an agent. Raises NotFound."""
        async with self._store.transaction() as tx:
            if await tx.agents.by_slug(slug) is None:
                raise NotFound("no_such_agent", f"there is no agent {slug!r}")
            await tx.agents.remove([slug], now_ms=self._now_ms())

    async def remove_place(self, kind: PlaceKind, place_id: str) -> None:
        """Remove a place. Raises NotFound for a place without a description, and Conflict for one that is in use."""
        async with self._store.transaction() as tx:
            places = await tx.places.all()
            if not any(place.kind is kind and place.id == place_id for place in places):
                raise NotFound(
                    f"no_such_{kind}", f"the registry has no description of a {PLACE_LABELS[kind]} {place_id!r}"
                )
            left = [place for place in places if (place.kind, place.id) != (kind, place_id)]
            _check_empty(kind, [place_id], await tx.agents.of_places({kind: [place_id]}), left)
            await tx.places.remove(kind, [place_id])


T = TypeVar("T", Agent, Place)


@dataclass(frozen=True, slots=True)
class _Part(Generic[T]):
    """One section of the registry before the change and as described, by name."""

    known: Mapping[str, T]
    """Of agents those that are described only: a registry may have a hundred thousand."""
    described: Mapping[str, T]
    removed: list[str]

    @property
    def after(self) -> Mapping[str, T]:
        gone = set(self.removed)
        return {name: each for name, each in {**self.known, **self.described}.items() if name not in gone}

    @property
    def to_write(self) -> list[T]:
        return [each for name, each in self.described.items() if self.known.get(name) != each]

    @property
    def difference(self) -> Difference:
        known = [name for name in self.described if name in self.known]
        return Difference(
            added=[name for name in self.described if name not in self.known],
            changed=[name for name in known if self.known[name] != self.described[name]],
            unchanged=[name for name in known if self.known[name] == self.described[name]],
            removed=self.removed,
        )


def _part(known: Iterable[T], described: Mapping[str, T], name: Callable[[T], str], *, removable: Set[str]) -> _Part[T]:
    """Return a section; of the ``removable`` names those are removed that it does not describe."""
    return _Part({name(each): each for each in known}, described, sorted(removable - described.keys()))


@dataclass(frozen=True, slots=True)
class _Plan:
    agents: _Part[Agent]
    places: Mapping[PlaceKind, _Part[Place]]

    @property
    def differences(self) -> Differences:
        return {AGENTS: self.agents.difference} | {
            name: self.places[kind].difference for kind, name in SECTIONS.items()
        }

    def check(self, users: Iterable[Agent]) -> None:
        """Raise Conflict if a place to be removed is in use; ``users`` are the agents of these places before the change."""
        gone = set(self.agents.removed)
        after = {agent.slug: agent for agent in users if agent.slug not in gone} | dict(self.agents.described)
        agents = after.values()
        places = [place for part in self.places.values() for place in part.after.values()]
        for kind, part in self.places.items():
            _check_empty(kind, part.removed, agents, places)


async def _plan(tx: CityTransaction, described: Description, *, remove_missing: bool) -> _Plan:
    agents: dict[str, Agent] = {agent.slug: _named_agent(agent) for agent in described.agents or ()}
    removes_agents = remove_missing and described.agents is not None
    # No registry describes Second Me: every city has it.
    slugs = await tx.agents.all_slugs() - {SECOND_ME.slug} if removes_agents else frozenset[AgentSlug]()
    stored = await tx.places.all()
    places: dict[PlaceKind, _Part[Place]] = {}
    for kind in PlaceKind:
        known = [place for place in stored if place.kind is kind]
        removable = {place.id for place in known} if remove_missing and kind in described.places else frozenset[str]()
        named = {place.id: _named_place(place) for place in described.places.get(kind, ())}
        places[kind] = _part(known, named, _id, removable=removable)
    plan = _Plan(_part(await tx.agents.by_slugs(agents), agents, _slug, removable=slugs), places)
    plan.check(await tx.agents.of_places({kind: part.removed for kind, part in places.items()}))
    return plan


def _named_agent(agent: Agent) -> Agent:
    return replace(agent, display_name=one_line(agent.display_name) or agent.slug, title=one_line(agent.title))


def _named_place(place: Place) -> Place:
    return replace(place, name=one_line(place.name) or place.id)


def _slug(agent: Agent) -> str:
    return agent.slug


def _id(place: Place) -> str:
    return place.id


def _check_empty(kind: PlaceKind, gone: Iterable[str], agents: Iterable[Agent], places: Iterable[Place]) -> None:
    """Raise Conflict if an agent or place uses a place to be removed."""
    used = _users(kind, agents, places)
    for place in gone:
        if names := used.get(place):
            more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
            users = ", ".join(sorted(names)[:_MAX_NAMES]) + more
            raise Conflict(
                "entry_in_use", f"the {PLACE_LABELS[kind]} {place!r} cannot be removed: it is used by {users}"
            )


def _users(kind: PlaceKind, agents: Iterable[Agent], places: Iterable[Place]) -> Mapping[str, list[str]]:
    """Return the names of the agents and places that use each place of this kind."""
    used: defaultdict[str, list[str]] = defaultdict(list)
    for agent in agents:
        home = {PlaceKind.NODE: agent.node_id, PlaceKind.MICRODAO: agent.microdao, PlaceKind.DISTRICT: agent.district}
        used[home[kind]].append(agent.slug)
    if kind is PlaceKind.DISTRICT:
        for place in places:
            used[place.district].append(place.id)
    return used
