"""Renders keys of config.yaml as YAML lines, each with its description as a comment above it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from .keys import Key, keys_of, plain
from .settings import Settings

COMMENT_WIDTH = 100
INDENT = 2


def render_example(values: Mapping[str, Any] | None = None) -> str:
    """Return a config.yaml with every key, its default and a comment.

    Args:
        values: Values in place of defaults, by section and key.
    """
    given = values or {}
    head = (
        "# Configuration of daarion-appservice. Values can also come from the environment: docs/reference/configuration.md\n"
        "# `daarion-appservice config check` finds errors, `config upgrade` adds the keys of newer versions.\n"
    )
    return head + "".join(f"\n{block(key, 0, given.get(key.name))}" for key in keys_of(Settings))


def block(key: Key, indent: int, value: Any = None) -> str:
    """Return a key with its comment as lines; ``value`` replaces its default, or parts of a section."""
    return _comment(key, indent) + _lines(key, indent, value)


def _lines(key: Key, indent: int, value: Any) -> str:
    margin = " " * indent
    if key.section is not None:
        values = value or {}
        inside = (block(each, indent + INDENT, values.get(each.name)) for each in keys_of(key.section, key.path))
        return f"{margin}{key.name}:\n" + "".join(inside)
    value = key.default if value is None else value
    if key.item is not None and value:
        return f"{margin}{key.name}:\n" + "".join(_item(each, indent + INDENT) for each in value)
    return f"{margin}{key.name}: {scalar(value)}\n"


def _item(values: Mapping[str, Any], indent: int) -> str:
    entries = [f"{name}: {scalar(value)}\n" for name, value in values.items()]
    margin = " " * indent
    return f"{margin}- {entries[0]}" + "".join(f"{margin}  {entry}" for entry in entries[1:])


def _comment(key: Key, indent: int) -> str:
    margin = " " * indent + "# "
    lines = textwrap.wrap(key.description, COMMENT_WIDTH - len(margin))
    if key.item is not None:
        lines.append("Each has (defaults in brackets):")
        for each in keys_of(key.item):
            lines += textwrap.wrap(
                f"{each.name}{_default_in_brackets(each)}: {each.description}",
                COMMENT_WIDTH - len(margin),
                initial_indent="  ",
                subsequent_indent="    ",
            )
    return "".join(f"{margin}{line}\n" for line in lines)


def _default_in_brackets(key: Key) -> str:
    return "" if key.field.is_required() else f" [{scalar(key.default)}]"


def scalar(value: Any) -> str:
    """Return a value on one line, without quotes where YAML reads it unchanged."""
    value = plain(value)
    if isinstance(value, str) and _needs_no_quotes(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _needs_no_quotes(text: str) -> bool:
    plain_looking = re.fullmatch(r"[^\W\d_](?:[\w /.@=-]|:(?! |$))*", text) and not text.endswith(" ")
    return bool(plain_looking) and text.lower() not in _WORDS


# Words that some version of YAML reads as another type than text.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
