"""Excerpts of messages hold no markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daarion_appservice.city.excerpts import excerpt
from daarion_appservice.city.markdown_rendering import render_markdown

CASES = Path(__file__).parents[2] / "web" / "src" / "testing" / "excerpts.json"


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
    assert excerpt(body, render_markdown(body), 280) == shown


@pytest.mark.parametrize("case", json.loads(CASES.read_text()), ids=lambda case: case["html"][:40])
def test_excerpt_of_html_is_its_text(case: dict[str, str]) -> None:
    """The pages' ``excerpt.test.ts`` checks the same cases."""
    assert excerpt("as it was written", case["html"], 280) == case["text"]


def test_excerpt_is_cut_after_markup_removal() -> None:
    body = "**" + "а" * 300 + "**"
    assert excerpt(body, render_markdown(body), 280) == "а" * 279 + "…"
