"""Nodes, microDAOs and districts with their agents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daarion_appservice.city.places import (
    GUARDIAN,
    ORCHESTRATOR,
    STEWARD,
    Place,
    PlaceDirectory,
    PlaceKind,
    has_role,
    main_role,
    microdao_role,
    node_role,
)
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.errors import NotFound

NODE = Place(PlaceKind.NODE, "node-1", "Вузол", district="podil")
DAO = Place(PlaceKind.MICRODAO, "daarion", "DAARION", district="obolon")
PODIL = Place(PlaceKind.DISTRICT, "podil", "Поділ")


def agent(slug: str, **roles: str) -> Agent:
    return replace(Agent(slug, AgentSlug(slug), slug), **roles)  # type: ignore[arg-type]


def directory(*agents: Agent) -> PlaceDirectory:
    made = PlaceDirectory()
    made.replace([NODE, DAO, PODIL], agents)
    return made


@pytest.mark.parametrize(
    ("roles", "on_node", "in_microdao", "one_word"),
    [
        ({}, "", "", ""),
        ({"role": "guardian"}, "", "", "guardian"),
        ({"role": "guardian", "node_id": "n"}, "guardian", "", "guardian"),
        ({"role": "guardian", "node_id": "n", "microdao": "d"}, "guardian", "", "guardian"),
        ({"role": "orchestrator", "node_id": "n", "microdao": "d"}, "", "orchestrator", "orchestrator"),
        ({"role": "Orchestrator", "node_id": "n"}, "", "", "Orchestrator"),
        ({"role": "scribe", "node_id": "n", "microdao": "d"}, "scribe", "scribe", "scribe"),
        ({"node_role": "steward", "microdao_role": "orchestrator"}, "steward", "orchestrator", "steward"),
        ({"role": "scribe", "node_role": "guardian", "node_id": "n", "microdao": "d"}, "guardian", "scribe", "scribe"),
    ],
)
def test_roles_derive_from_each_other(roles: dict[str, str], on_node: str, in_microdao: str, one_word: str) -> None:
    holder = agent("a", **roles)
    assert (node_role(holder), microdao_role(holder), main_role(holder)) == (on_node, in_microdao, one_word)
    for role in {on_node, in_microdao, one_word} - {""}:
        assert has_role(holder, role)
    assert not has_role(holder, "mayor")


def test_place_is_held_by_agent_with_role() -> None:
    places = directory(
        agent("zoya", node_id="node-1", node_role="guardian"),
        agent("varta", node_id="node-1", role="Guardian", microdao="daarion"),
        agent("boss", node_id="node-1", role="orchestrator", microdao="daarion"),
        agent("elsewhere", node_id="node-2", role="steward"),
        agent("scribe", microdao="daarion", microdao_role="scribe"),
    )
    node, dao = places.find(PlaceKind.NODE, "node-1"), places.find(PlaceKind.MICRODAO, "daarion")
    assert [each.slug for each in places.agents_of(node)] == ["boss", "varta", "zoya"]
    assert [each.slug for each in places.agents_of(dao)] == ["boss", "scribe", "varta"]
    assert getattr(places.holder(node, GUARDIAN), "slug", None) == "varta", "the first of two, by slug"
    assert places.holder(node, STEWARD) is None, "that of another node is none"
    assert getattr(places.holder(dao, ORCHESTRATOR), "slug", None) == "boss"


def test_undescribed_place_is_listed() -> None:
    places = directory(agent("a", node_id="node-9", microdao="guild", district="lisky"))
    assert [each.id for each in places.all(PlaceKind.NODE)] == ["node-1", "node-9"]
    assert [each.id for each in places.all(PlaceKind.MICRODAO)] == ["daarion", "guild"]
    assert [each.id for each in places.all(PlaceKind.DISTRICT)] == ["lisky", "obolon", "podil"]
    assert places.find(PlaceKind.NODE, "node-9").name == "node-9"
    assert places.find(PlaceKind.NODE, "node-1") is NODE
    assert [each.id for each in places.within(PlaceKind.NODE, "podil")] == ["node-1"]


def test_agent_district_is_own_or_inherited() -> None:
    own = agent("a", district="lisky", node_id="node-1")
    by_node = agent("b", node_id="node-1", microdao="daarion")
    by_microdao = agent("c", node_id="node-9", microdao="daarion")
    nowhere = agent("d")
    places = directory(own, by_node, by_microdao, nowhere)
    assert [places.district_of(each) for each in (own, by_node, by_microdao, nowhere)] == [
        "lisky",
        "podil",
        "obolon",
        "",
    ]
    assert places.agents_of(places.find(PlaceKind.DISTRICT, "podil")) == [by_node]


@pytest.mark.parametrize("kind", PlaceKind)
def test_unnamed_place_is_not_found(kind: PlaceKind) -> None:
    places = directory(agent("nobody"))
    for name in ("", "nowhere"):
        with pytest.raises(NotFound) as raised:
            places.find(kind, name)
        assert raised.value.code == f"no_such_{kind}"


def test_everything_is_replaced_as_a_whole() -> None:
    places = directory(agent("a", node_id="node-9"))
    places.replace([DAO], [agent("b", microdao="daarion")])
    assert places.all(PlaceKind.NODE) == []
    assert [each.slug for each in places.agents_of(DAO)] == ["b"]
