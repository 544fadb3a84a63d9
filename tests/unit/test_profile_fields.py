"""Support for profile fields, as a homeserver declares it in its capabilities and unstable features."""

from __future__ import annotations

import pytest

from daarion_appservice.matrix.client.profile_fields import _fields
from daarion_appservice.matrix.ghosts.status_text import FIELD


@pytest.mark.parametrize(
    ("capabilities", "features", "fields"),
    [
        ({"m.profile_fields": {"enabled": True}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": ["displayname"]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": True, "disallowed": [FIELD]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": ["displayname"]}}, {}, "NONE"),
        ({"m.profile_fields": {"enabled": True, "allowed": [FIELD]}}, {}, "STABLE"),
        ({"m.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
        ({"m.profile_fields": "yes"}, {}, "NONE"),
        ({}, {}, "NONE"),
        ({}, {"uk.tcpip.msc4133": True}, "UNSTABLE"),
        ({}, {"uk.tcpip.msc4133": True, "uk.tcpip.msc4133.stable": True}, "STABLE"),
        ({"uk.tcpip.msc4133.profile_fields": {"enabled": False}}, {"uk.tcpip.msc4133": True}, "NONE"),
    ],
)
def test_profile_field_support_follows_capabilities(
    capabilities: dict[str, object], features: dict[str, object], fields: str
) -> None:
    assert _fields(FIELD, capabilities, features).name == fields
