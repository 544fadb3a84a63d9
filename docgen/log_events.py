"""Generates ``docs/reference/log-events.md`` from ``log_events.yaml`` and from the log calls in the source."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from .markdown import code, header, table

_CATALOGUE: Final = Path(__file__).with_name("log_events.yaml")
_PACKAGE: Final = Path(__file__).parents[1] / "daarion_appservice"
_CALL: Final = re.compile(
    r'\b(?:log\.(?:info|warning|error|exception)|level|_warn)\(\s*"(\w+)"(?: if .+? else "(\w+)")?'
)


def page() -> str:
    catalogue, modules = read_catalogue(), modules_of_events()

    def module(event: str) -> str:
        return ", ".join(code(each) for each in sorted(modules.get(event, ())))

    return (
        header("Log events", "docgen/log_events.yaml and the log calls of the package", "log-events")
        + "\n## Information\n"
        + table(
            ("event", "meaning", "module"),
            ((code(event), text, module(event)) for event, text in catalogue["information"].items()),
        )
        + "\n## Attention\n"
        + table(
            ("event", "meaning", "what to do", "ends with", "module"),
            (
                (code(event), entry["meaning"], entry["action"], _end(entry), module(event))
                for event, entry in catalogue["attention"].items()
            ),
        )
    )


def _end(entry: dict[str, str]) -> str:
    """Return the event that says that a state is over; empty for an event that is not a state."""
    return code(entry["ends_with"]) if "ends_with" in entry else ""


def read_catalogue() -> dict[str, dict[str, Any]]:
    """Return the events by group: ``information`` has texts, ``attention`` has mappings.

    The keys of such a mapping are ``meaning``, ``action`` and, for the beginning of a state, ``ends_with``.
    """
    catalogue: dict[str, dict[str, Any]] = YAML(typ="safe").load(_CATALOGUE)
    return catalogue


def modules_of_events() -> dict[str, set[str]]:
    """Return the modules that log an event, by its name."""
    found: dict[str, set[str]] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        for event in chain.from_iterable(_CALL.findall(path.read_text())):
            if event:
                found.setdefault(event, set()).add(str(path.relative_to(_PACKAGE)))
    return found
