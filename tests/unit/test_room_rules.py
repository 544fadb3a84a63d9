"""Unit tests of reading a Matrix room's rules from the content of its state events."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.power_levels import RoomPowerLevels, may_invite, may_send
from daarion_appservice.city.types import UserId
from daarion_appservice.matrix.client.room_rules import is_encryption, join_rule, stored_json, stored_levels
from tests.parts.hostile import nested


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"join_rule": "public"}, "public"),
        ({"join_rule": "x" * 60_000}, "x" * 32),
        ({"join_rule": ""}, "invite"),
        ({"join_rule": ["public"]}, "invite"),
        ({}, "invite"),
    ],
)
def test_join_rule_of_invalid_content_is_invite(content: dict[str, Any], expected: str) -> None:
    assert join_rule(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [({"algorithm": "m.megolm.v1.aes-sha2"}, True), ({"algorithm": ""}, False), ({"algorithm": 1}, False), ({}, False)],
)
def test_encryption_needs_an_algorithm(content: dict[str, Any], expected: bool) -> None:
    assert is_encryption(content) is expected


def test_stored_json_is_sorted() -> None:
    assert stored_json({"b": 1, "a": [None]}) == '{"a":[null],"b":1}'


@pytest.mark.parametrize(
    "content", [{"a": "x" * 65_536}, {"a": nested(300)}, {"a": 1 << 80}, {"a": "\ud800"}], ids=lambda _: ""
)
def test_unstorable_content_is_an_empty_object(content: dict[str, Any]) -> None:
    assert stored_json(content) == "{}"


def test_stored_levels_have_creators_at_the_highest_level() -> None:
    levels = stored_levels(RoomPowerLevels({"invite": 50, "events_default": 100}, {UserId("@creator:x")}))
    assert may_invite(levels, UserId("@creator:x"))
    assert may_send(levels, UserId("@creator:x"), "m.room.message")
    assert not may_invite(levels, UserId("@other:x"))
