"""The power level that the bot lacks in a Matrix room, and the instructions for the room's admins."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import UserId
from daarion_appservice.matrix.reconcile.power_notices import MissingPower, missing_power, power_advice

BOT = UserId("@city:city.localhost")


@pytest.mark.parametrize(("needed", "level"), [(50, "100"), (100, "100"), (150, "150")])
def test_power_advice_names_level_command_and_api(needed: float, level: str) -> None:
    advice = power_advice(BOT, MissingPower(0, needed))
    assert f"power level {level}" in advice
    assert f"/op {BOT} {level} in" in advice
    assert f'"{BOT}": {level} to "users"' in advice
    assert "/state/m.room.power_levels" in advice


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ({"users": {BOT: 100}}, None),
        ({"users": {BOT: 50}}, None),
        ({"users": {BOT: 49}}, MissingPower(49, 50)),
        ({}, MissingPower(0, 50)),
        ({"users": {BOT: 50}, "redact": 60}, MissingPower(50, 60)),
        ({"users": {BOT: 50}, "events": {"m.room.power_levels": 100}}, MissingPower(50, 100)),
        ({"users": {BOT: 50}, "events": {"m.room.server_acl": 100}}, None),
        ({"users_default": 100}, None),
    ],
)
def test_missing_power_compares_with_city_events(content: dict[str, Any], missing: MissingPower | None) -> None:
    assert missing_power(RoomPowerLevels(content), BOT) == missing


def test_missing_power_of_creator_is_none() -> None:
    assert missing_power(RoomPowerLevels({"state_default": 100}, creators=[BOT]), BOT) is None
