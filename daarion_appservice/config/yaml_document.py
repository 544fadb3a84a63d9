"""Parses config.yaml with the position of each value, for line numbers in errors and for edits of single values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from .. import private_file
from ..errors import ExitCode, StartError
from .errors import ConfigError, ConfigErrors, dotted
from .values import ValuePath


@dataclass(frozen=True)
class Document:
    """A parsed file.

    Args:
        values: the content.
        root: the YAML nodes; None for an empty file.
        lines: line numbers of the values, from 1.
        repeated: an error for each duplicate key.
    """

    path: Path
    text: str
    values: dict[str, Any]
    root: MappingNode | None
    lines: dict[ValuePath, int]
    repeated: list[ConfigError]


def read(path: Path) -> Document:
    """Read and parse a file.

    Raises:
        StartError: the file does not exist.
        ConfigErrors: the file is not YAML.
    """
    missing = StartError(
        f"There is no configuration at {path}",
        f"Make one with `daarion-appservice config generate -c {path}`, or name another with -c.",
        ExitCode.CONFIG,
    )
    raw = private_file.read(path, missing)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigErrors(path, [ConfigError(path, line, "", "this is not UTF-8 text")]) from None
    return parse(path, text)


def parse(path: Path, text: str) -> Document:
    """Parse text; ``path`` is for the error messages."""
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # _walk finds duplicates, together with all other errors
    try:
        root = yaml.compose(text)
        values = yaml.load(text)
    except YAMLError as error:
        raise ConfigErrors(path, [ConfigError(path, _line(error, text), "", _syntax(error))]) from None
    except (ValueError, RecursionError):  # a date like 2025-13-45; a thousand nested brackets
        raise ConfigErrors(path, [ConfigError(path, None, "", "a value is not valid YAML: put it in quotes")]) from None
    if values is None:
        return Document(path, text, {}, None, {}, [])
    if not isinstance(root, MappingNode):
        sentence = "must hold sections: `homeserver:`, `appservice:` and so on"
        raise ConfigErrors(path, [ConfigError(path, 1, "", sentence)])
    lines: dict[ValuePath, int] = {}
    repeated = list(_walk(path, root, (), lines))
    return Document(path, text, values, root, lines, repeated)


def _walk(path: Path, node: Node, place: ValuePath, lines: dict[ValuePath, int]) -> Iterator[ConfigError]:
    """Record the line of every key, and yield an error for each duplicate key."""
    if len(place) > 8:  # no key is that deep; an alias of itself would recurse forever
        return
    if isinstance(node, MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                yield ConfigError(path, line, dotted(here), f"is set twice, in line {lines[here]} and here")
            lines[here] = line
            yield from _walk(path, value, here, lines)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            lines[*place, index] = value.start_mark.line + 1
            yield from _walk(path, value, (*place, index), lines)


def _line(error: YAMLError, text: str) -> int | None:
    if isinstance(error, ReaderError):
        return text[: error.position].count("\n") + 1
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark else None


def _syntax(error: YAMLError) -> str:
    if isinstance(error, ReaderError):
        return "this is not YAML: it contains a control character"
    problem = error.problem if isinstance(error, MarkedYAMLError) else None
    # The library quotes the offending text, which may be part of a token.
    return "this is not YAML: " + re.sub(r"'[^'<]{3,}'", "…", problem or "it cannot be read")


def is_empty(node: Node) -> bool:
    """Return whether a key has no value after its colon."""
    return isinstance(node, ScalarNode) and node.style is None and node.value == ""


def last_line(node: Node, above: int) -> int:
    """Return the last line (from 0) of a value without trailing comments; ``above`` is the line of its key."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        last = node.value[-1]
        key, value = last if isinstance(node, MappingNode) else (last, last)
        return last_line(value, key.start_mark.line)
    if is_empty(node):
        return above
    mark = node.end_mark
    # A block scalar ends at the beginning of the next line.
    return int(mark.line) - 1 if mark.column == 0 and mark.line > node.start_mark.line else int(mark.line)
