"""Changes of a registry with very many agents, and rooms with more agents than get a power level."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from daarion_appservice.app import _seed_agents
from daarion_appservice.city import moderation_rights
from daarion_appservice.city.types import Agent, AgentSlug, MatrixStatus, RoomId
from daarion_appservice.matrix.moderation import room_moderation
from daarion_appservice.matrix.reconcile import writing_agents
from daarion_appservice.matrix.reconcile.writing_agents import WritingAgents
from daarion_appservice.storage.agents import AgentRepository
from tests.integration.test_room_moderation import LEVELS, open_room
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.registry import IMPORT, REGISTRY, lay_over, manage, slugs

GENERAL = RoomId("city_general")


def forbid_reading_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_all(_: AgentRepository) -> list[Agent]:
        raise AssertionError("a change must not read all agents")

    monkeypatch.setattr(AgentRepository, "all", read_all)


async def test_changes_do_not_read_all_agents(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process_city(database_url) as city:
        forbid_reading_all(monkeypatch)
        await lay_over(city, REGISTRY)
        [hospodar, _] = REGISTRY["agents"]
        changed = await lay_over(city, {"agents": [hospodar | {"title": "Дбає"}]})
        assert changed["agents"] == {"added": 0, "changed": 1, "unchanged": 0, "removed": 0}
        await _seed_agents(city.city)
        # Agents use the node, and the microDAO uses the district.
        for section in ("nodes", "districts"):
            refused = await manage(city, "POST", f"{IMPORT}?remove_missing=true", {section: []})
            assert (refused.status, refused.content["code"]) == (409, "entry_in_use"), section
        # An agent that the same description moves away does not use the place any more.
        moved = [agent | {"node_id": "elsewhere"} for agent in REGISTRY["agents"]]
        gone = await lay_over(city, {"nodes": [], "agents": moved}, "?remove_missing=true")
        assert (gone["nodes"]["removed"], gone["agents"]["removed"]) == (1, 2)
        assert await slugs(city) == sorted(agent["slug"] for agent in REGISTRY["agents"])


async def test_second_me_is_added_once(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process_city(sqlite_url, agents_core={"url": "http://127.0.0.1:9"}) as city:
        forbid_reading_all(monkeypatch)
        await _seed_agents(city.city)
        async with city.city.database.read_only() as tx:
            assert await tx.agents.slug_of_id("second_me") == "second_me"
            assert await tx.agents.slug_of_id("nobody") is None


# --- agents of rooms that are closed to others ------------------------------------------------------------


async def write(city: InProcessCity, *agents: str) -> None:
    """Let agents write in the room General, one after the other."""
    for agent in agents:
        token = await city.agent_token(agent)
        posted = await city.call("POST", "/city/rooms/general/messages", {"body": "x"}, token=token)
        assert posted.status == 201, posted


async def add_agents(city: InProcessCity, *names: str) -> None:
    agents = [{"slug": name, "display_name": name, "rooms": ["general"]} for name in names]
    await lay_over(city, {"agents": agents})
    await city.city.registry.load()


async def test_writers_come_first(database_url: str) -> None:
    async with in_process_city(database_url) as city:
        await add_agents(city, "a1", "a2", "a3", "a4")
        await write(city, "a3", "a2", "a3")
        async with city.city.database.read_only() as tx:
            order = await tx.agent_messages.writers_first(GENERAL, [AgentSlug(f"a{number}") for number in range(1, 5)])
            assert order == ["a3", "a2", "a1", "a4"]
            assert await tx.agent_messages.writers_first(GENERAL, [AgentSlug("a4")]) == ["a4"]


async def test_agents_who_write_get_the_levels(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (moderation_rights, room_moderation, writing_agents):
        monkeypatch.setattr(module, "MAX_WRITING_AGENTS", 2)

    def with_level(levels: dict[str, Any]) -> set[str]:
        return {user.partition(":")[0] for user, level in levels["users"].items() if level == 49}

    async with open_room(sqlite_url) as town:
        city = town.city
        await add_agents(city, "a1", "a2", "a3", "a4")
        await write(city, "a2", "a4")
        assert (await town.ask("PATCH", "", {"writers": "moderators"}))[0] == 200
        closed = town.matrix.states[LEVELS]
        assert with_level(closed) == {"@agent_a4", "@agent_a2"}
        # So does the reconciler, in a room without levels yet.
        empty = closed | {"users": {user: level for user, level in closed["users"].items() if level != 49}}
        await town.set_levels(empty)
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.set_status(GENERAL, MatrixStatus.LINKED, None)
            room = await tx.rooms.get(GENERAL)
        assert room is not None
        assert orjson.loads(room.power_levels) == empty
        parts = city.city
        await WritingAgents(parts.homeserver, parts.identities, parts.agents, parts.database).update([room])
        assert with_level(town.matrix.states[LEVELS]) == {"@agent_a4", "@agent_a2"}
