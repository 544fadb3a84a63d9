"""Writing config.yaml: a new one, keys that an old one lacks, single values.

An existing file is edited as text, at the places that its YAML nodes name: every comment, blank line, quote and unknown
key stays as it was, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml.nodes import MappingNode, Node

from .. import private_file
from ..errors import ExitCode, StartError
from . import yaml_document
from .errors import ConfigErrors
from .keys import Key, KeyPath, find_key, keys_of
from .render import INDENT, block, render_example, scalar
from .settings import Settings
from .yaml_document import Document


def generate(path: Path) -> None:
    """Writes a new config.yaml, for its owner only. Raises StartError when there is one, or it cannot be written."""
    private_file.create(path, render_example(), ExitCode.CONFIG)


def upgrade(path: Path) -> list[str]:
    """Adds every key that is missing, with its comment and default, and returns them dotted. Nothing else changes."""
    document = yaml_document.read(path)
    if document.repeated:
        raise ConfigErrors(path, document.repeated)
    missing = _missing(document.values)
    _write(document, {key.path: key.default for key in missing})
    return [key.dotted for key in missing]


def set_values(path: Path, values: Mapping[str, str | float]) -> None:
    """Sets single keys, dotted like ``appservice.as_token``; those that are not there yet get their comment too."""
    document = yaml_document.read(path)
    wanted = {tuple(key.split(".")): value for key, value in values.items()}
    above = {path[:length] for path in wanted for length in range(1, len(path))}
    sections = {key.path: key.default for key in _missing(document.values) if key.path in above}
    _write(document, {**sections, **wanted})


# --- editing ------------------------------------------------------------------------------------------


def _missing(values: dict[str, Any]) -> list[Key]:
    """The uppermost keys that are not there: a section that is missing as a whole is named once."""
    found: list[Key] = []

    def look(model: type[BaseModel], section: dict[str, Any], above: KeyPath) -> None:
        for key in keys_of(model, above):
            if key.name not in section:
                found.append(key)
            elif key.section is not None and isinstance(inside := section[key.name] or {}, dict):
                look(key.section, inside, key.path)

    look(Settings, values, ())
    return found


def _write(document: Document, wanted: Mapping[KeyPath, Any]) -> None:
    edited = _edited(document, wanted)
    if edited is None:
        # Aliases and merges can give a line another meaning than it seems to have: better no edit than a wrong one.
        raise StartError(
            f"{document.path} is written in a way that cannot be edited safely, and was left as it is",
            "Set these by hand: " + ", ".join(".".join(path) for path in wanted),
            ExitCode.CONFIG,
        )
    if edited.text != document.text:
        private_file.replace(document.path, edited.text, ExitCode.CONFIG)


def _edited(document: Document, wanted: Mapping[KeyPath, Any]) -> Document | None:
    """The document with these values and no other change, or None when that did not come out."""
    now = document
    try:
        expected = _unshared(document.values)
        for path, value in wanted.items():
            now = yaml_document.parse(document.path, _with_value(now, path, value))
            _put(expected, path, value)
        came_out = now.values == expected
    except (ConfigErrors, TypeError, RecursionError):  # no YAML any more, no section, an alias of itself
        return None
    return now if came_out else None


def _unshared(values: Any) -> Any:
    """A copy in which an alias is a section of its own: what is put into one must not show in the other."""
    match values:
        case dict():
            return {name: _unshared(value) for name, value in values.items()}
        case list():
            return [_unshared(value) for value in values]
        case _:
            return values


def _put(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    section = values
    for name in path[:-1]:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
    section[path[-1]] = value


@dataclass(frozen=True)
class _Entry:
    """A key in the file: where it stands (line and column from 0) and its value."""

    line: int
    column: int
    value: Node


_ABOVE_ALL = -1
"""The line and column above the outermost keys."""


def _with_value(document: Document, path: KeyPath, value: Any) -> str:
    """The text with that one key set; the sections above it are there."""
    section: Node | None = document.root
    line, column = _ABOVE_ALL, -INDENT
    for name in path[:-1]:
        entry = _entry(section, name)
        if entry is None:
            return document.text
        section, line, column = entry.value, entry.line, entry.column
    entry = _entry(section, path[-1])
    if entry is not None:
        return _with_scalar(document.text, entry, scalar(value))
    if not isinstance(section, MappingNode):
        return _inserted(document.text, line, _block(path, value, column + INDENT))
    if section.flow_style:
        return _with_flow_entry(document.text, section, path[-1], value)
    indent = section.value[0][0].start_mark.column
    return _inserted(document.text, _line_before(section, path), _block(path, value, indent))


def _entry(section: Node | None, name: str) -> _Entry | None:
    if not isinstance(section, MappingNode):
        return None
    return next(
        (
            _Entry(key.start_mark.line, key.start_mark.column, value)
            for key, value in section.value
            if key.value == name
        ),
        None,
    )


def _with_scalar(text: str, entry: _Entry, new: str) -> str:
    if yaml_document.is_empty(entry.value):
        lines = text.splitlines(keepends=True)
        before, colon, after = lines[entry.line].partition(":")
        lines[entry.line] = f"{before}{colon} {new}{after}"
        return "".join(lines)
    start, end = entry.value.start_mark.index, entry.value.end_mark.index
    return text[:start] + new + ("\n" if text[start:end].endswith("\n") else "") + text[end:]


def _with_flow_entry(text: str, section: MappingNode, name: str, value: Any) -> str:
    """In ``{…}`` there is no room for a comment."""
    at = section.start_mark.index + 1
    entry = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" + (", " if section.value else "")
    return text[:at] + entry + text[at:]


def _line_before(section: MappingNode, path: KeyPath) -> int:
    """The last line of whatever stands before this key in the example, or of the whole section."""
    above = find_key(path[:-1])
    names = list((above.section if above and above.section else Settings).model_fields)
    earlier = names[: names.index(path[-1])]
    ends = {key.value: yaml_document.last_line(value, key.start_mark.line) for key, value in section.value}
    beside = [ends[name] for name in earlier if name in ends]
    return beside[-1] if beside else max(ends.values())


def _inserted(text: str, after: int, lines: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    head, tail = text.splitlines(keepends=True)[: after + 1], text.splitlines(keepends=True)[after + 1 :]
    if head and not head[-1].endswith("\n"):
        head.append(newline)
    if lines.startswith("\n") and tail and tail[0].strip():
        lines += "\n"
    return "".join(head) + lines.replace("\n", newline) + "".join(tail)


def _block(path: KeyPath, value: Any, indent: int) -> str:
    key = find_key(path)
    assert key is not None, f"{'.'.join(path)} is no key"
    # Outermost sections are set off by a blank line, as in the example.
    return ("\n" if len(path) == 1 else "") + block(key, indent, value)
