"""The directory cache applies the changes of the registry, and gives what a fresh load gives."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import text

from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.places import Place, PlaceDirectory, PlaceKind
from daarion_appservice.city.tokens import NewToken, TokenDirectory, new_token
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.clock import new_id
from daarion_appservice.realtime import directory_cache
from daarion_appservice.realtime.directory_cache import DirectoryCache
from daarion_appservice.storage import agents as agent_storage
from daarion_appservice.storage import migrate
from daarion_appservice.storage.agents import AgentRepository
from daarion_appservice.storage.database import Database

SLUGS = [AgentSlug(f"a{number}") for number in range(8)]


class Directories:
    """The directories of one process."""

    def __init__(self, database: Database) -> None:
        self.agents, self.places, self.tokens = AgentDirectory(), PlaceDirectory(), TokenDirectory()
        self.published: list[object] = []
        self.cache = DirectoryCache(database, self.published.append, self.agents, self.places, self.tokens)

    def content(self) -> object:
        places = {kind: self.places.all(kind) for kind in PlaceKind}
        return (
            self.agents.all(),
            [self.agents.by_name(f"Name {number}") for number in range(3)],
            places,
            {(kind, place.id): self.places.agents_of(place) for kind in PlaceKind for place in places[kind]},
            {token_id: token.slug for token_id, token in self.tokens._tokens.items()},
        )


@dataclass
class Registry:
    """Random changes of the stored registry."""

    database: Database
    choices: random.Random
    tokens: dict[str, NewToken] = field(default_factory=dict)

    async def change(self) -> None:
        slug = self.choices.choice(SLUGS)
        async with self.database.transaction() as tx:
            agent = await tx.agents.by_slug(slug)
            match self.choices.randrange(6):
                case 0 | 1:
                    await tx.agents.put(self._described(slug), now_ms=1)
                case 2:
                    await tx.agents.remove([slug], now_ms=1)
                case 3 if agent:
                    made = new_token(new_id())
                    await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=1)
                case 4 if agent:
                    await tx.agents.revoke_tokens(agent, None, now_ms=1)
                case 5:
                    district = self.choices.choice(["", "podil", "obolon"])
                    await tx.places.put_all([Place(PlaceKind.NODE, "node-1", "Вузол", district=district)])

    def _described(self, slug: AgentSlug) -> Agent:
        pick = self.choices.choice
        agent = Agent(f"id-{slug}", slug, f"Name {pick(range(3))}", role=pick(["", "guardian", "orchestrator"]))
        return replace(
            agent,
            node_id=pick(["", "node-1", "node-2"]),
            microdao=pick(["", "daarion"]),
            district=pick(["", "", "podil", "lypky"]),
        )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await migrate.upgrade(database)
    yield database
    await database.close()


async def test_applied_changes_equal_fresh_load(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_storage, "PAGE", 3)
    registry = Registry(database, random.Random(1))
    current, rare = Directories(database), Directories(database)
    await rare.cache.load()
    for number in range(120):
        await registry.change()
        await current.cache.load()
        fresh = Directories(database)
        await fresh.cache.load()
        assert current.content() == fresh.content(), f"after change {number}"
        if number % 7 == 0:
            await rare.cache.load()
            assert rare.content() == fresh.content(), f"after change {number}, having missed some"


async def test_change_reads_changed_agents_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.transaction() as tx:
        await tx.agents.put_all([Agent(slug, slug, slug) for slug in SLUGS], now_ms=1)
    directories = Directories(database)
    await directories.cache.load()
    read: list[str] = []
    changed_since = AgentRepository.changed_since

    async def counted(repository: AgentRepository, version: int, after: str = "") -> list[Agent]:
        found = await changed_since(repository, version, after)
        read.extend(agent.slug for agent in found)
        return found

    monkeypatch.setattr(AgentRepository, "changed_since", counted)
    async with database.transaction() as tx:
        await tx.agents.put(Agent("a3", AgentSlug("a3"), "Інше ім'я"), now_ms=1)
    await directories.cache.load()
    assert read == ["a3"]
    assert len(directories.published) == 2
    await directories.cache.load()
    assert len(directories.published) == 2, "nothing has changed"


async def test_token_of_agent_added_again_is_refused(database: Database) -> None:
    agent = Agent("a1", AgentSlug("a1"), "А")
    made = new_token(new_id())
    directories = Directories(database)
    async with database.transaction() as tx:
        await tx.agents.put(agent, now_ms=1)
        await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=1)
    await directories.cache.load()
    assert directories.tokens.owner(made.text) == "a1"
    async with database.transaction() as tx:
        await tx.agents.remove([agent.slug], now_ms=1)
        await tx.agents.put(agent, now_ms=1)
    await directories.cache.load()
    assert directories.agents.get(agent.slug) == agent
    assert directories.tokens.owner(made.text) is None


async def test_changes_of_older_release_are_applied(database: Database) -> None:
    """A process from before revision 0037, in a rolling upgrade, stores no version with the rows that it changes."""
    agents = [Agent(slug, AgentSlug(slug), slug) for slug in ("kept", "renamed", "removed")]
    made = new_token(new_id())
    async with database.transaction() as tx:
        await tx.agents.put_all(agents, now_ms=1)
        await tx.agents.add_token(made.id, agents[0], made.secret_sha256, now_ms=1)
    directories = Directories(database)
    await directories.cache.load()
    assert directories.tokens.owner(made.text) == "kept"
    async with database._engine.begin() as connection:
        for statement in (
            "UPDATE agent_tokens SET revoked_at_ms = 2",
            "UPDATE agents SET display_name = 'Олена' WHERE slug = 'renamed'",
            "DELETE FROM agents WHERE slug = 'removed'",
            "UPDATE key_values SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE key = 'registry_version'",
        ):
            await connection.execute(text(statement))
    await directories.cache.load()
    assert directories.tokens.owner(made.text) is None
    assert [agent.display_name for agent in directories.agents.all()] == ["kept", "Олена"]


async def test_tokens_are_revoked_before_agents_change(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_cache, "_REMOVED_AT_ONCE", 2)
    directories, revoked, removed = Directories(database), new_token(new_id()), new_token(new_id())
    agents = [_agent(slug) for slug in SLUGS]
    async with database.transaction() as tx:
        await tx.agents.put_all(agents, now_ms=1)
        for agent, made in ((agents[0], revoked), (agents[-1], removed)):
            await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=1)
    await directories.cache.load()
    async with database.transaction() as tx:
        await tx.agents.revoke_tokens(agents[0], None, now_ms=2)
        await tx.agents.remove(SLUGS[1:], now_ms=2)
    owners: list[str | None] = []

    async def watch() -> None:
        while len(directories.agents) > 1:
            if len(directories.agents) < len(SLUGS):
                owners.extend(directories.tokens.owner(made.text) for made in (revoked, removed))
            await asyncio.sleep(0)

    await asyncio.gather(directories.cache.load(), watch())
    assert set(owners) == {None}


async def test_removal_lets_other_tasks_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_cache, "_REMOVED_AT_ONCE", 2)
    directories = Directories(database)
    async with database.transaction() as tx:
        await tx.agents.put_all([_agent(slug) for slug in SLUGS], now_ms=1)
    await directories.cache.load()
    async with database.transaction() as tx:
        await tx.agents.remove(SLUGS, now_ms=2)
    counts: list[int] = []

    async def watch() -> None:
        while len(directories.agents):
            counts.append(len(directories.agents))
            await asyncio.sleep(0)

    await asyncio.gather(directories.cache.load(), watch())
    assert {6, 4, 2} <= set(counts)


async def test_grouping_by_place_lets_other_tasks_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_cache, "PAGE", 2)
    directories = Directories(database)
    async with database.transaction() as tx:
        await tx.agents.put_all([_agent(slug) for slug in SLUGS], now_ms=1)
    await directories.cache.load()
    grouped: list[str] = []
    change_agent, turns = PlaceDirectory.change_agent, [0]

    def change(self: PlaceDirectory, before: Agent | None, after: Agent | None) -> None:
        grouped.append(f"{turns[0]}")
        change_agent(self, before, after)

    monkeypatch.setattr(PlaceDirectory, "change_agent", change)
    async with database.transaction() as tx:
        await tx.places.put_all([Place(PlaceKind.NODE, "n1", "Node", district="podil")])

    async def count_turns() -> None:
        while not directories.published[1:]:
            turns[0] += 1
            await asyncio.sleep(0)

    await asyncio.gather(directories.cache.load(), count_turns())
    assert len(grouped) == len(SLUGS)
    assert max(Counter(grouped).values()) == 2


def _agent(slug: AgentSlug) -> Agent:
    return Agent(id=new_id(), slug=slug, display_name="Name", node_id="n1")
