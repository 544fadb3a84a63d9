"""The template of the agents' display names on Matrix, like ``{name} · {title}``."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import Final

FIELDS: Final = ("name", "title")
_MAX_CHARS: Final = 255
"""Synapse accepts 256 (synapse/handlers/profile.py)."""


@dataclass(frozen=True, slots=True)
class DisplayNameTemplate:
    """A template that ``template_error`` finds nothing wrong with."""

    text: str = "{name}"

    def render(self, name: str, title: str) -> str:
        """Return a display name; that of an agent without the title that the template shows is its name alone."""
        if not title and "title" in _fields(self.text):
            return name
        rendered = self.text.format(name=name, title=title)
        return rendered if len(rendered) <= _MAX_CHARS else rendered[: _MAX_CHARS - 1] + "…"


def template_error(text: str) -> str | None:
    """Return what is wrong with a template, as a sentence, or None."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError:
        return "has a brace without its partner: write {{ or }} for a brace that is shown"
    for _, field, form, conversion in parsed:
        if field is not None and (field not in FIELDS or form or conversion):
            return f"may have the fields {{name}} and {{title}} only, not {{{field}}} or a format of them"
    if "name" not in _fields(text):
        return "must contain {name}"
    return None


def _fields(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}
