"""Permissions by a room's power levels, also in invalid content."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daarion_appservice.city.power_levels import may_invite, may_send
from daarion_appservice.city.types import UserId

GHOST = UserId("@citizen_u_1:city.localhost")


@pytest.mark.parametrize(
    ("content", "may_speak", "may_react"),
    [
        pytest.param({}, True, True, id="none at all"),
        pytest.param({"events_default": 50}, False, False, id="announcements only"),
        pytest.param({"events_default": 50, "users": {GHOST: 50}}, True, True, id="but not for the ghost"),
        pytest.param({"events_default": 50, "users_default": 50}, True, True, id="but not for anybody"),
        pytest.param({"events": {"m.room.message": 10}}, False, True, id="signs only"),
        pytest.param({"events": {"m.reaction": 10}}, True, False, id="no signs"),
        pytest.param({"events_default": 50, "events": {"m.reaction": 0}}, False, True, id="the rule and its exception"),
        pytest.param({"users": {GHOST: -1}}, False, False, id="this one is muted"),
        pytest.param({"users_default": -10, "users": {GHOST: 0}}, True, True, id="all but this one are muted"),
    ],
)
def test_levels_permit_messages_and_reactions(content: dict[str, Any], may_speak: bool, may_react: bool) -> None:
    levels = json.dumps(content)
    assert may_send(levels, GHOST, "m.room.message") is may_speak
    assert may_send(levels, GHOST, "m.reaction") is may_react


@pytest.mark.parametrize(
    ("content", "may"),
    [({}, True), ({"invite": 50}, False), ({"invite": 50, "users": {GHOST: 50}}, True), ({"users_default": -1}, False)],
)
def test_levels_permit_invitations(content: dict[str, Any], may: bool) -> None:
    assert may_invite(json.dumps(content), GHOST) is may


@pytest.mark.parametrize("level", [50, "50", " 50 ", "+50", 50.0, 50.9])
def test_level_may_be_a_string(level: Any) -> None:
    assert not may_send(json.dumps({"events_default": level, "users": {GHOST: 49}}), GHOST, "m.room.message")
    assert may_send(json.dumps({"events_default": level, "users": {GHOST: "50"}}), GHOST, "m.room.message")


_NO_LEVELS: list[Any] = ["high", "", None, True, [], {}, "9" * 5000]
_NO_OBJECTS: list[Any] = [[], "x", 5, None]


@pytest.mark.parametrize(
    "levels",
    [
        "",
        "no JSON",
        "[]",
        "null",
        *(json.dumps({"events_default": each}) for each in _NO_LEVELS),
        *(json.dumps({"users": each, "events": each}) for each in _NO_OBJECTS),
        '{"events_default": 1e400}',
        '{"events_default": NaN}',
    ],
)
def test_invalid_level_counts_as_missing(levels: str) -> None:
    assert may_send(levels, GHOST, "m.room.message")
