"""Unit tests of the normal form of reaction keys (UTS #51)."""

from __future__ import annotations

import pytest

from daarion_appservice.city.emoji import normal_form


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("👍\ufe0f", "👍", id="selector without need"),
        pytest.param("❤", "❤\ufe0f", id="missing selector"),
        pytest.param("❤\ufe0e", "❤\ufe0f", id="text selector"),
        pytest.param(" 👍\n", "👍", id="spaces"),
        pytest.param("1\u20e3", "1\ufe0f\u20e3", id="keycap"),
        pytest.param("1", "1", id="digit"),
        pytest.param("☝\U0001f3fd", "☝\U0001f3fd", id="skin tone"),
        pytest.param("☝\ufe0f\U0001f3fd", "☝\U0001f3fd", id="selector before skin tone"),
        pytest.param("❤\u200d🔥", "❤\ufe0f\u200d🔥", id="joined"),
        pytest.param("e\u0301", "é", id="decomposed"),
        pytest.param("\ufe0f", "", id="selector alone"),
    ],
)
def test_reaction_key_has_one_normal_form(key: str, expected: str) -> None:
    assert normal_form(key) == expected
    assert normal_form(expected) == expected
