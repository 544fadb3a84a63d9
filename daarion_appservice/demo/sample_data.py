"""The demo's data: five agents and two users; a node, a microDAO and the district of both."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Final

from ruamel.yaml import YAML

from ..city.places import Place, PlaceKind
from ..config import AgentSeed

ADMIN: Final = "daarion_admin"
"""Admin of the homeserver, and of the city's rooms on Matrix."""
PEOPLE: Final = (ADMIN, "olena")
"""Localparts of the accounts for Element."""

ROOMS: Final = ("general", "welcome", "builders")
_EVERYWHERE: Final = list(ROOMS)

DISTRICT: Final = Place(PlaceKind.DISTRICT, "podil", "Поділ · Podil")
NODE: Final = Place(PlaceKind.NODE, "node-1", "Вузол 1 · Node 1", "Перший вузол міста", DISTRICT.id)
MICRODAO: Final = Place(PlaceKind.MICRODAO, "daarion", "DAARION", "Спільнота, що будує це місто", DISTRICT.id)
PLACES: Final = (DISTRICT, NODE, MICRODAO)

AGENTS: Final = (
    AgentSeed(
        slug="daarwizz",
        display_name="DAARWIZZ",
        title="Оркестратор microDAO",
        kind="orchestrator",
        color="#7c3aed",
        microdao=MICRODAO.id,
        role="orchestrator",
        rooms=_EVERYWHERE,
    ),
    AgentSeed(
        slug="varta",
        display_name="Varta",
        title="Вартовий вузла node-1",
        kind="guardian",
        color="#0f766e",
        node_id=NODE.id,
        microdao=MICRODAO.id,
        role="guardian",
        rooms=["general", "builders"],
    ),
    AgentSeed(
        slug="hospodar",
        display_name="Hospodar",
        title="Господар вузла node-1",
        kind="steward",
        color="#b45309",
        node_id=NODE.id,
        microdao=MICRODAO.id,
        role="steward",
        rooms=["general", "builders"],
    ),
    AgentSeed(
        slug="litopys",
        display_name="Litopys",
        title="Літописець міста",
        kind="assistant",
        color="#1d4ed8",
        microdao=MICRODAO.id,
        role="scribe",
        rooms=_EVERYWHERE,
    ),
    AgentSeed(
        slug="providnyk",
        display_name="Providnyk",
        title="Провідник для новоприбулих",
        kind="assistant",
        color="#be185d",
        microdao=MICRODAO.id,
        role="guide",
        rooms=["general", "welcome"],
    ),
)


def render_sample_agents(agents: Iterable[AgentSeed]) -> str:
    """Render the section ``agents`` of config.yaml."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump({"agents": [agent.model_dump(exclude_defaults=True) for agent in agents]}, out)
    return out.getvalue()
