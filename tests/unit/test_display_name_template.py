"""The template of the agents' display names on Matrix."""

from __future__ import annotations

import pytest

from daarion_appservice.city.display_name_template import DisplayNameTemplate, template_error


@pytest.mark.parametrize(
    ("text", "title", "shown"),
    [
        ("{name}", "Scribe", "Писар"),
        ("{name} · {title}", "Scribe", "Писар · Scribe"),
        ("{name} ({title})", "", "Писар"),
        ("🤖 {name}", "", "🤖 Писар"),
        ("{{{name}}}", "", "{Писар}"),
        ("{name} {title}", "{0.__class__}", "Писар {0.__class__}"),
    ],
)
def test_template_renders_name_and_title(text: str, title: str, shown: str) -> None:
    assert template_error(text) is None
    assert DisplayNameTemplate(text).render("Писар", title) == shown


def test_long_display_name_is_cut() -> None:
    rendered = DisplayNameTemplate("{name} {title}").render("n" * 255, "t" * 255)
    assert len(rendered) == 255
    assert rendered.endswith("…")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "must contain {name}"),
        ("{title}", "must contain {name}"),
        ("{{name}}", "must contain {name}"),
        ("{name} {role}", "not {role}"),
        ("{name.__class__}", "not {name.__class__}"),
        ("{name!r}", "a format of them"),
        ("{name:>200000000}", "a format of them"),
        ("{name[0]}", "not {name[0]}"),
        ("{} {name}", "not {}"),
        ("{name", "brace"),
        ("name}", "brace"),
    ],
)
def test_wrong_template_is_explained(text: str, error: str) -> None:
    assert error in (template_error(text) or "")
