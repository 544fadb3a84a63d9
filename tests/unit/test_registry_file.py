"""The registry file: its meaning, and all of its errors at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from daarion_appservice.city.places import Place, PlaceDirectory, PlaceKind
from daarion_appservice.config.registry_file import RegistryErrors, entry_description_of, read

EXAMPLE = Path(__file__).parents[2] / "examples/registry.yaml"


def errors_of(content: Any, *, files: bool = True) -> dict[str, str]:
    with pytest.raises(RegistryErrors) as raised:
        read(content, files=files)
    assert raised.value.detail.splitlines() == [f"{where}: {what}" for where, what in raised.value.errors.items()]
    return dict(raised.value.errors)


def test_example_names_guardians_and_stewards() -> None:
    described = entry_description_of(read(YAML(typ="safe").load(EXAMPLE), files=False))
    assert described.agents is not None
    places = PlaceDirectory()
    places.replace([place for part in described.places.values() for place in part], described.agents)
    [node], [microdao] = places.all(PlaceKind.NODE), places.all(PlaceKind.MICRODAO)
    held = [places.holder(node, "guardian"), places.holder(node, "steward"), places.holder(microdao, "orchestrator")]
    assert [agent and agent.slug for agent in held] == ["varta", "hospodar", "daarwizz"]
    assert {places.district_of(agent) for agent in described.agents} == {"podil"}


def test_omitted_section_differs_from_empty_one() -> None:
    nothing = entry_description_of(read({}))
    assert (nothing.agents, dict(nothing.places)) == (None, {})
    some = entry_description_of(read({"agents": [], "nodes": [{"id": "n"}]}))
    assert some.agents == ()
    assert dict(some.places) == {PlaceKind.NODE: (Place(PlaceKind.NODE, "n", "n"),)}


def test_all_errors_are_reported_with_their_place() -> None:
    content = {
        "nodes": [{"id": "a/b"}, {"id": "n", "name": 7}, {"id": "n"}],
        "agents": [
            5,
            {"slug": "A", "display_nam": "x"},
            {"slug": "a", "display_name": "x", "color": "red", "role": 5},
            {"slug": "a", "display_name": "x", "rooms": ["x", "Y"], "avatar": "mxc://nothing"},
            {"slug": "b", "display_name": "\0", "rooms": ["general", "\ud800"]},
        ],
        "citizens": [],
    }
    found = errors_of(content)
    assert list(found) == [
        "citizens",
        "nodes[0].id",
        "nodes[1].name",
        "nodes[2].id",
        "agents[0]",
        "agents[1].display_nam",
        "agents[1].display_name",
        "agents[1].slug",
        "agents[2].color",
        "agents[2].role",
        "agents[3].avatar",
        "agents[3].rooms[1]",
        "agents[3].slug",
        "agents[4].display_name",
        "agents[4].rooms",
        "agents[4].rooms[1]",
    ]
    assert found["nodes[2].id"] == "n is taken by nodes[1]"
    assert found["agents[3].slug"] == "a is taken by agents[2]"
    assert found["agents[1].display_nam"] == "is not a key; did you mean display_name?"
    assert found["agents[1].display_name"] == "is missing"
    assert found["agents[2].color"] == "must be like #3b82f6, or empty for none"
    assert found["agents[2].role"] == "must be text: put it in quotes"


@pytest.mark.parametrize("content", [None, 5, "words", [], [{"slug": "a"}]])
def test_invalid_registry_is_refused(content: Any) -> None:
    assert list(errors_of(content)) == ["the registry"]


@pytest.mark.parametrize("content", [None, 5, "words", {"slug": "a"}])
def test_section_without_list_is_refused(content: Any) -> None:
    assert list(errors_of({"agents": content})) == ["agents"]


@pytest.mark.parametrize(
    ("avatar", "is_a_file"), [("", False), ("mxc://city.localhost/abc", False), ("a.png", True), ("/etc/passwd", True)]
)
def test_avatar_files_are_local_only(avatar: str, is_a_file: bool) -> None:
    content = {"agents": [{"slug": "a", "display_name": "A", "avatar": avatar}]}
    assert read(content).agents[0].avatar == avatar
    if is_a_file:
        assert list(errors_of(content, files=False)) == ["agents[0].avatar"]
    else:
        assert read(content, files=False).agents[0].avatar == avatar
