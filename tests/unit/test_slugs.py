"""Slugs from names, by the Ukrainian national romanisation."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.slugs import MAX_LENGTH, SLUG_PATTERN, slug_of
from daarion_appservice.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        # Slugs of other pages of the city.
        ("Home", "home-room"),
        ("Rooms", "rooms-room"),
        # The examples of resolution 55 (2010), letter by letter.
        ("Алушта", "alushta"),
        ("Борщагівка", "borshchahivka"),
        ("Вінниця", "vinnytsia"),
        ("Гадяч", "hadiach"),
        ("Ґалаґан", "galagan"),
        ("Донецьк", "donetsk"),
        ("Рівне", "rivne"),
        ("Єнакієве", "yenakiieve"),
        ("Наєнко", "naienko"),
        ("Житомир", "zhytomyr"),
        ("Закарпаття", "zakarpattia"),
        ("Медвин", "medvyn"),
        ("Іршава", "irshava"),
        ("Їжакевич", "yizhakevych"),
        ("Кадиївка", "kadyivka"),
        ("Йосипівка", "yosypivka"),
        ("Стрий", "stryi"),
        ("Київ", "kyiv"),
        ("Харків", "kharkiv"),
        ("Біла Церква", "bila-tserkva"),
        ("Чернівці", "chernivtsi"),
        ("Шостка", "shostka"),
        ("Гоща", "hoshcha"),
        ("Русь", "rus"),
        ("Юрій", "yurii"),
        ("Крюківка", "kriukivka"),
        ("Яготин", "yahotyn"),
        ("Костянтин", "kostiantyn"),
        ("Згорани", "zghorany"),
        ("Розгон", "rozghon"),
        ("Знам'янка", "znamianka"),
        # What the city's rooms may be called.
        ("Наука", "nauka"),
        ("Громада", "hromada"),
        ("Громада Києва", "hromada-kyieva"),
        ("Їжак", "yizhak"),
        ("Згурський", "zghurskyi"),
        ("Щастя", "shchastia"),
        ("ЩАСТЯ", "shchastia"),
        ("Знам’янка", "znamianka"),
        ("Знамʼянка", "znamianka"),
        ("Нью-Йорк", "niu-york"),
        ("«Юність»", "yunist"),
        ("(Євген)", "yevhen"),
        ("Science", "science"),
        ("Café à la carte", "cafe-a-la-carte"),
        ("  Room   101! ", "room-101"),
    ],
)
def test_a_name_becomes_a_slug(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@pytest.mark.parametrize("name", ["", "   ", "!!!", "🎉", "ь", "'", "\0", "-", "_"])
def test_name_without_letters_is_refused_with_advice(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        slug_of(name)
    assert (raised.value.status, raised.value.code) == (422, "slug_required")
    assert "send one as `slug`" in raised.value.detail


@given(st.text(max_size=200))
def test_slug_is_always_valid(name: str) -> None:
    try:
        slug = slug_of(name)
    except InvalidInput:
        return
    assert re.fullmatch(SLUG_PATTERN, slug)
    assert len(slug) <= MAX_LENGTH
    assert slug_of(slug) == slug
