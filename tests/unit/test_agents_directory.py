"""Lookups in the agent directory."""

from __future__ import annotations

import pytest

from daarion_appservice.city.agents import AgentDirectory, AgentFilter
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.errors import NotFound

DAARWIZZ = Agent(
    "ag_1", AgentSlug("daarwizz"), "DAARWIZZ", "Оркестратор міста", microdao="daarion", role="orchestrator"
)
VARTA = Agent("ag_2", AgentSlug("varta"), "Варта", "Guardian", node_id="node-1", role="guardian")


@pytest.fixture
def directory() -> AgentDirectory:
    directory = AgentDirectory()
    directory.replace([DAARWIZZ, VARTA])
    return directory


def test_an_agent_is_found_by_slug_and_by_id(directory: AgentDirectory) -> None:
    assert directory.find("daarwizz") is directory.find("ag_1") is directory.get(AgentSlug("daarwizz")) is DAARWIZZ


@pytest.mark.parametrize("name", ["", "nobody", "DAARWIZZ", "ag_3"])
def test_an_unknown_agent_is_not_found(directory: AgentDirectory, name: str) -> None:
    with pytest.raises(NotFound) as raised:
        directory.find(name)
    assert raised.value.code == "no_such_agent"
    assert directory.get(AgentSlug(name)) is None


def test_the_agents_are_replaced_as_a_whole(directory: AgentDirectory) -> None:
    directory.replace(iter([VARTA]))
    assert list(directory.all()) == [VARTA]
    assert directory.find("ag_2") is VARTA
    with pytest.raises(NotFound):
        directory.find("ag_1")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AgentFilter(), ["daarwizz", "varta"]),
        (AgentFilter(node_id="node-1"), ["varta"]),
        (AgentFilter(microdao="daarion"), ["daarwizz"]),
        (AgentFilter(role="guardian"), ["varta"]),
        (AgentFilter(role="guard"), []),
        (AgentFilter(node_id="node-1", role="orchestrator"), []),
        (AgentFilter(q="ВАРТ"), ["varta"]),
        (AgentFilter(q="оркестр"), ["daarwizz"]),
        (AgentFilter(q="daarw"), ["daarwizz"]),
        (AgentFilter(q="nothing"), []),
    ],
)
def test_agents_are_filtered(directory: AgentDirectory, wanted: AgentFilter, found: list[str]) -> None:
    assert [agent.slug for agent in directory.all() if wanted.matches(agent)] == found
