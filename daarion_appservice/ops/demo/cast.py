"""Who lives in the demo's city: five agents and two people."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Final

from ruamel.yaml import YAML

from ...config import AgentSeed

PEOPLE: Final = ("daarion_admin", "olena")
"""Localparts of the accounts for Element."""

ROOMS: Final = ("general", "welcome", "builders")
_EVERYWHERE: Final = list(ROOMS)

AGENTS: Final = (
    AgentSeed(
        slug="daarwizz",
        display_name="DAARWIZZ",
        title="Оркестратор microDAO · Orchestrator",
        microdao="daarion",
        role="orchestrator",
        rooms=_EVERYWHERE,
    ),
    AgentSeed(
        slug="varta",
        display_name="Varta",
        title="Вартовий вузла node-1 · Guardian",
        node_id="node-1",
        microdao="daarion",
        role="guardian",
        rooms=["general", "builders"],
    ),
    AgentSeed(
        slug="hospodar",
        display_name="Hospodar",
        title="Господар вузла node-1 · Steward",
        node_id="node-1",
        microdao="daarion",
        role="steward",
        rooms=["general", "builders"],
    ),
    AgentSeed(
        slug="litopys",
        display_name="Litopys",
        title="Літописець міста · Scribe",
        microdao="daarion",
        role="scribe",
        rooms=_EVERYWHERE,
    ),
    AgentSeed(
        slug="providnyk",
        display_name="Providnyk",
        title="Провідник для новоприбулих · Guide",
        microdao="daarion",
        role="guide",
        rooms=["general", "welcome"],
    ),
)


def render_agents(agents: Iterable[AgentSeed]) -> str:
    """The section ``agents`` of config.yaml."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump({"agents": [agent.model_dump(exclude_defaults=True) for agent in agents]}, out)
    return out.getvalue()
