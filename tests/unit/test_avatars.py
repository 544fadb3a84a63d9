"""The avatars that the service draws for Matrix, and that the pages draw alike."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from daarion_appservice.city.avatars import (
    ROOFS,
    DrawnAvatar,
    Emblem,
    EmblemAvatar,
    HouseAvatar,
    LetterAvatar,
    agent_avatar,
    avatar_key,
    initials,
    room_avatar,
)
from daarion_appservice.city.colors import color_of, hash_of, is_light
from daarion_appservice.city.types import Agent, AgentSlug
from daarion_appservice.matrix.avatars.drawing import SIZE, draw

WEB = Path(__file__).parents[2] / "web" / "src"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((WEB / "testing" / "avatars.json").read_text())
WHITE = "#ffffff"


def letters(text: str) -> LetterAvatar:
    return LetterAvatar(text, "#7c3aed", WHITE)


@pytest.mark.parametrize("vector", VECTORS["colors"], ids=lambda vector: vector["name"])
def test_color_of_name_equals_that_of_pages(vector: dict[str, Any]) -> None:
    assert hash_of(vector["name"]) == vector["hash"]
    assert hash_of(vector["name"]) % 360 == vector["hue"]
    assert color_of(vector["name"]) == vector["color"]


@pytest.mark.parametrize("vector", VECTORS["initials"], ids=lambda vector: vector["name"])
def test_initials_equal_those_of_pages(vector: dict[str, Any]) -> None:
    assert initials(vector["name"]) == vector["initials"]


@pytest.mark.parametrize("vector", VECTORS["light"], ids=lambda vector: vector["color"])
def test_light_colors_equal_those_of_pages(vector: dict[str, Any]) -> None:
    assert is_light(vector["color"]) == vector["isLight"]


def test_roofs_and_logo_equal_those_of_pages() -> None:
    house = (WEB / "features" / "city" / "rooms" / "RoomIcon.tsx").read_text()
    roofs = 'const ROOFS = ["M3 19 22 5l19 14z", "M3 19 9 8h26l6 11z", "M5 19C5 4 39 4 39 19z", "M3 19V11h38v8z"];'
    assert roofs in house, "drawing.py must draw the new roofs"
    assert 'd="M5 26V15.6L11 9.5l6 6.1V26z"' in (WEB / "icon.svg").read_text(), "drawing.py must draw the new logo"


AVATARS: list[DrawnAvatar] = [
    *map(letters, ("Д", "ЇҐ", "JŻ", "7", "日")),
    *(HouseAvatar("#216e45", roof) for roof in range(ROOFS)),
    *map(EmblemAvatar, Emblem),
]


@pytest.mark.parametrize("avatar", AVATARS, ids=str)
def test_drawing_is_small_png_and_reproducible(avatar: DrawnAvatar) -> None:
    png = draw(avatar)
    image = Image.open(BytesIO(png))
    assert (image.format, image.size) == ("PNG", (SIZE, SIZE))
    assert SIZE >= 256
    assert len(png) < 4096
    assert draw(avatar) == png


def test_drawings_of_avatars_differ() -> None:
    assert len({draw(avatar) for avatar in AVATARS}) == len(AVATARS)


@pytest.mark.parametrize("ukrainian", "АБВГҐДЕЄЖЗИІЇЙКЛМНОПРСТУФХЦЧШЩЬЮЯ")
def test_ukrainian_letters_are_drawn(ukrainian: str) -> None:
    assert draw(letters(ukrainian)) != draw(letters("日")), "not the emblem for letters that the font lacks"


def test_letters_of_other_scripts_are_an_emblem() -> None:
    assert draw(letters("日")) == draw(letters("ق"))
    assert draw(letters("?")) != draw(letters("日"))


def test_agent_avatar_has_color_of_agent() -> None:
    own = Agent("1", AgentSlug("scribe"), "Писар Міста", color="#FFE066")
    assert agent_avatar(own) == LetterAvatar("ПМ", "#ffe066", "#1c1712")
    assert agent_avatar(Agent("1", AgentSlug("scribe"), "Писар")) == LetterAvatar("П", color_of("agent:scribe"), WHITE)


def test_key_changes_with_what_is_shown() -> None:
    agents = [
        Agent("1", AgentSlug("scribe"), "Писар"),
        Agent("1", AgentSlug("scribe"), "Літописець"),
        Agent("1", AgentSlug("scribe"), "Писар", color="#123456"),
        Agent("1", AgentSlug("scribe2"), "Писар"),
    ]
    keys = [avatar_key(agent_avatar(agent)) for agent in agents]
    assert len(set(keys)) == len(keys)
    assert avatar_key(agent_avatar(agents[0])) == keys[0]
    assert avatar_key(agent_avatar(Agent("2", AgentSlug("scribe"), "Петро", title="x"))) == keys[0], "it shows the same"
    assert avatar_key(room_avatar("general")) != avatar_key(room_avatar("welcome"))
