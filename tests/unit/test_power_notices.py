"""What an admin of a Matrix room is told about the power level that the bot lacks."""

from __future__ import annotations

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.matrix.reconcile.power_notices import power_advice

BOT = UserId("@city:city.localhost")


@pytest.mark.parametrize(("needed", "level"), [(50, "100"), (100, "100"), (150, "150")])
def test_power_advice_names_level_command_and_api(needed: float, level: str) -> None:
    advice = power_advice(BOT, needed)
    assert f"power level {level}" in advice
    assert f"/op {BOT} {level} in" in advice
    assert f'"{BOT}": {level} to "users"' in advice
    assert "/state/m.room.power_levels" in advice
