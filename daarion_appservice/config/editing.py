"""Writes config.yaml: a new file, keys that an existing file lacks, and single values.

An existing file is edited as text at the positions of its YAML nodes. Every comment, blank line, quote and unknown key
stays unchanged, byte for byte.
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
from .pickle_key import new_pickle_key
from .render import INDENT, block, render_example, scalar
from .settings import Settings
from .yaml_document import Document


def generate(path: Path) -> None:
    """Write a new config.yaml that only its owner may read, with a random ``encryption.pickle_key``.

    Raises:
        StartError: the file exists or cannot be written.
    """
    private_file.create(path, render_example({"encryption": {"pickle_key": new_pickle_key()}}), ExitCode.CONFIG)


def upgrade(path: Path) -> list[str]:
    """Add every missing key with its comment and default, without any other change.

    Returns:
        The added keys, dotted.
    """
    document = yaml_document.read(path)
    if document.repeated:
        raise ConfigErrors(path, document.repeated)
    missing = _missing(document.values)
    _write(document, {key.path: key.default for key in missing})
    return [key.dotted for key in missing]


def set_values(path: Path, values: Mapping[str, str | float]) -> None:
    """Set single keys, dotted like ``appservice.as_token``. A missing key is added with its comment."""
    document = yaml_document.read(path)
    wanted = {tuple(key.split(".")): value for key, value in values.items()}
    above = {path[:length] for path in wanted for length in range(1, len(path))}
    sections = {key.path: key.default for key in _missing(document.values) if key.path in above}
    _write(document, {**sections, **wanted})


# --- editing ------------------------------------------------------------------------------------------


def _missing(values: dict[str, Any]) -> list[Key]:
    """Return the missing keys; a missing section is returned as one key."""
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
        # Aliases and merge keys can change the meaning of a line: better no edit than a wrong one.
        raise StartError(
            f"{document.path} is written in a way that cannot be edited safely, and was left as it is",
            "Set these by hand: " + ", ".join(".".join(path) for path in wanted),
            ExitCode.CONFIG,
        )
    if edited.text != document.text:
        private_file.replace(document.path, edited.text, ExitCode.CONFIG)


def _edited(document: Document, wanted: Mapping[KeyPath, Any]) -> Document | None:
    """Return the document with these values and no other change, or None if that is not possible."""
    try:
        expected = _unshared(document.values)
        for path, value in wanted.items():
            _put(expected, path, value)
        entries = {path: entry for path in wanted if (entry := _entry_at(document, path))}
        text = document.text
        # From the end of the file to its beginning, as an edit moves only what follows it.
        for path in sorted(entries, key=lambda path: entries[path].position, reverse=True):
            text = _with_scalar(text, entries[path], scalar(wanted[path]))
        now = yaml_document.parse(document.path, text) if entries else document
        for path in (each for each in wanted if each not in entries):
            now = yaml_document.parse(document.path, _with_value(now, path, wanted[path]))
        written = now.values == expected
    except (ConfigErrors, TypeError, RecursionError):
        # The edit made the YAML invalid or replaced a section by a value, or an alias refers to itself.
        return None
    return now if written else None


def _unshared(values: Any) -> Any:
    """Return a copy in which each alias is a separate section, so that a change of one does not show in the other."""
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
    """A key in the file with its position (line and column from 0) and its value."""

    line: int
    column: int
    value: Node

    @property
    def position(self) -> tuple[int, int]:
        return self.line, self.column


_ABOVE_ALL = -1
"""The line and column above the outermost keys."""


def _entry_at(document: Document, path: KeyPath) -> _Entry | None:
    """Return the entry of a key; None if the key or a section above it is missing."""
    section: Node | None = document.root
    entry: _Entry | None = None
    for name in path:
        entry = _entry(section, name)
        section = entry.value if entry else None
    return entry


def _with_value(document: Document, path: KeyPath, value: Any) -> str:
    """Return the text with one key set; the sections above it exist."""
    if entry := _entry_at(document, path):
        return _with_scalar(document.text, entry, scalar(value))
    section: Node | None = document.root
    line, column = _ABOVE_ALL, -INDENT
    for name in path[:-1]:
        entry = _entry(section, name)
        if entry is None:
            return document.text
        section, line, column = entry.value, entry.line, entry.column
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
    """Insert a key into a flow mapping ``{…}``, which has no room for a comment."""
    at = section.start_mark.index + 1
    entry = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" + (", " if section.value else "")
    return text[:at] + entry + text[at:]


def _line_before(section: MappingNode, path: KeyPath) -> int:
    """Return the last line of the key that precedes this one in the example, or of the whole section."""
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
    assert key is not None, f"{'.'.join(path)} is not a key"
    # A blank line precedes top-level sections, as in the example.
    return ("\n" if len(path) == 1 else "") + block(key, indent, value)
