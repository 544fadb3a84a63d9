"""Excerpts of messages hold no markup."""

from __future__ import annotations

import pytest

from daarion_appservice.city.excerpts import excerpt
from daarion_appservice.city.markup import rendered


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("**Добрий** _вечір_, `місто`", "Добрий вечір, місто"),
        ("# Перший\n\n- один\n- два", "Перший один два"),
        ("[сюди](https://example.org)", "сюди"),
        ("> цитата\n\nвідповідь & <b>", "цитата відповідь & <b>"),
        ("| a | b |\n|---|---|\n| c | d |", "a b c d"),
        ("2 * 3 * 4 <> 5", "2 * 3 * 4 <> 5"),
        ("рядок\nрядок", "рядок\nрядок"),
        ("", ""),
    ],
)
def test_excerpt_of_markdown_is_its_text(body: str, shown: str) -> None:
    assert excerpt(body, rendered(body), 280) == shown


def test_excerpt_leaves_out_what_a_spoiler_hides() -> None:
    assert excerpt("…", 'кіт <span data-mx-spoiler="">живий</span>!', 280) == "кіт …!"


def test_excerpt_is_cut_after_the_markup_is_gone() -> None:
    body = "**" + "а" * 300 + "**"
    assert excerpt(body, rendered(body), 280) == "а" * 279 + "…"
