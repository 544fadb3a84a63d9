"""Configuration errors: each has a position and a sentence, and never contains the value itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails

from ..errors import ExitCode, StartError
from .keys import Key, all_keys, environment_keys, keys_of
from .settings import Settings
from .values import ValuePath


@dataclass(frozen=True)
class ConfigError:
    """One error.

    Args:
        line: line number from 1; None if the value is not from the file.
        sentence: the end of a sentence that begins with the key.
        variable: the environment variable that the value came from, in place of a line.
    """

    file: Path
    line: int | None
    key: str
    sentence: str
    variable: str | None = None

    def __str__(self) -> str:
        where = self.variable or (f"{self.file}:{self.line}" if self.line else str(self.file))
        what = f"{self.key} {self.sentence}" if self.key and self.key != self.variable else self.sentence
        return f"{where}: {what}"


class ConfigErrors(StartError):
    """All errors of a configuration."""

    def __init__(self, file: Path, errors: Iterable[ConfigError]) -> None:
        self.errors = sorted(errors, key=lambda each: (each.line or 0, each.variable or "", each.key))
        count = "an error" if len(self.errors) == 1 else f"{len(self.errors)} errors"
        super().__init__(
            "\n".join([f"The configuration has {count}:", *(f"  {each}" for each in self.errors)]),
            f"Correct this and try again; `daarion-appservice config check -c {file}` looks without starting anything.",
            ExitCode.CONFIG,
        )


def dotted(place: ValuePath) -> str:
    """Format a path: ("city", "rooms", 0, "slug") → city.rooms[0].slug"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def error_sentence(error: ErrorDetails) -> str:
    """Describe a pydantic error as the end of a sentence that begins with the key."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(error["loc"])
    if kind != "missing" and error["input"] is None and "sentence" not in context:
        return 'has no value: write one, "" for nothing, or remove the line to get the default'
    if kind == "value_error":
        return str(context["error"])
    return _sentence_of_kind(kind, context) or error["msg"][:1].lower() + error["msg"][1:]


def _sentence_of_kind(kind: str, context: Mapping[str, Any]) -> str | None:
    sentence = _SENTENCES.get(kind) or _SENTENCES.get(kind.partition("_")[0])
    return sentence.format_map(context) if sentence else None


# Keyed by pydantic's error type, or by its part before the first "_".
_SENTENCES = {
    "missing": "is missing",
    "contradiction": "{sentence}",
    "string": "must be text: put it in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "path": "must be the name of a file, in quotes",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le:g}",
    "literal": "must be {expected}",
    "list": "must be a list: one `- …` a line",
    "model": "must hold keys of its own, indented below it",
}


def unknown_key(place: ValuePath) -> str:
    """Return the sentence about an unknown key, with the most similar known key."""
    known, section = _known_beside(place)
    wrong = str(place[-1])
    if close := get_close_matches(wrong, known, n=1):
        return f"is not a key; did you mean {close[0]}?"
    if elsewhere := [key.dotted for key in all_keys() if key.name == wrong]:
        return f"is not a key here; did you mean {elsewhere[0]}?"
    return f"is not a key; {section} has {', '.join(known)}"


def unknown_variable(name: str) -> str:
    close = get_close_matches(name.removesuffix("_FILE"), environment_keys(), n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]}?" if close else "; docs/reference/configuration.md lists all"
    return f"sets no key{hint}"


def _known_beside(place: ValuePath) -> tuple[list[str], str]:
    """Return the keys of the section or list item that contains ``place``, and the name of that section."""
    model, section = Settings, "the file"
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        inside = next(_inside(key) for key in keys_of(model) if key.name == part)
        if inside is None:
            break
        model, section = inside, str(part)
    return list(model.model_fields), section


def _inside(key: Key) -> Any:
    return key.section or key.item
