"""The power levels that the city grants: to its admins and to the observer."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.granted_levels import with_granted_levels
from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import UserId

BOT, OBSERVER = UserId("@city:city.localhost"), UserId("@city_observer:city.localhost")
OLENA, PETRO = UserId("@olena:city.localhost"), UserId("@petro:city.localhost")
CONTENT: dict[str, Any] = {"users": {BOT: 100, PETRO: 50}, "events": {"m.room.power_levels": 100}, "ban": 50}


def granted(content: dict[str, Any], *creators: UserId, observer: UserId | None = OBSERVER) -> dict[str, Any]:
    powers = RoomPowerLevels(content, creators)
    return with_granted_levels(powers, bot=BOT, admins=(OLENA, PETRO), observer=observer)


def test_admins_get_100_and_observer_below_default() -> None:
    assert granted(CONTENT) == CONTENT | {"users": {BOT: 100, PETRO: 100, OLENA: 100, OBSERVER: -1}}
    assert granted(CONTENT, observer=None)["users"] == {BOT: 100, PETRO: 100, OLENA: 100}


def test_granted_levels_change_nothing_the_second_time() -> None:
    once = granted(CONTENT)
    assert granted(once) == once


def test_higher_levels_and_creators_are_kept() -> None:
    # Room version 12: the bot and Olena are creators, who must not be named.
    content = {"users": {PETRO: 150, OBSERVER: 0}}
    assert granted(content, BOT, OLENA) == content


def test_bot_without_power_grants_nothing() -> None:
    weak = {"users": {BOT: 50}, "events": {"m.room.power_levels": 100}}
    assert granted(weak) == weak
    assert granted({"users": {BOT: 50}})["users"] == {BOT: 50, OBSERVER: -1}, "nobody grants more than the own level"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional={"users": json, "events": json, "users_default": json, "state_default": json})
)
def test_any_content_is_survived(content: dict[str, Any]) -> None:
    assert set(granted(content)) >= set(content)
