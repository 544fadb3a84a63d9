"""Profile fields of ghosts: the homeserver's support for them, and the content of the role field."""

from __future__ import annotations

import pytest

from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.matrix.ghosts.profile_fields import STATUS_FIELD, field_support, role_json


@pytest.mark.parametrize(
    ("capabilities", "features", "support"),
    [
        ({"m.profile_fields": {"enabled": True}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": ["displayname"]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": [STATUS_FIELD]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": ["displayname"]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": [STATUS_FIELD]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
        ({"m.profile_fields": "yes"}, {}, "NONE"),
        ({}, {}, "NONE"),
        ({}, {"uk.tcpip.msc4133": True}, "UNSTABLE"),
        ({}, {"uk.tcpip.msc4133": True, "uk.tcpip.msc4133.stable": True}, "STABLE"),
        ({"uk.tcpip.msc4133.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
    ],
)
def test_field_support_follows_capabilities(
    capabilities: dict[str, object], features: dict[str, object], support: str
) -> None:
    assert field_support(STATUS_FIELD, capabilities, features).name == support


def test_role_json_omits_empty_values() -> None:
    agent = Agent("1", AgentSlug("scribe"), "Писар", kind="assistant", node_id="node-1", role="guardian")
    assert role_json(agent) == '{"kind":"assistant","node":"node-1","node_role":"guardian"}'


def test_role_json_of_agent_without_role_is_none() -> None:
    assert role_json(Agent("1", AgentSlug("scribe"), "Писар")) is None
