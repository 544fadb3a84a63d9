"""Output of commands on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import ExitCode

CONFIG_VARIABLE = "DAARION_CONFIG"
"""The environment variable with the path of the configuration file, for commands without ``--config``."""
ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", envvar=CONFIG_VARIABLE, help="The configuration file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG = Path("config.yaml")


def print_line(text: str, style: str | None = None) -> None:
    """Print one line on standard output, never wrapped: it may be a path or a command to copy."""
    Console(soft_wrap=True, highlight=False).print(text, style=style, markup=False)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"! {text}", style="yellow", markup=False)


def note(text: str) -> None:
    """Print a remark on standard error, so that standard output is only what another program reads."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False)


def fail(what: str, advice: str, exit_code: ExitCode) -> None:
    """Print what is wrong and what to do, and end the process."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(what, style="red", markup=False)
    if advice:
        console.print(f"{'→' if console.is_terminal else '->'} {advice}", markup=False)
    sys.exit(exit_code)


def print_json(value: Any) -> None:
    """Print a JSON value on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def report(as_json: bool, result: Mapping[str, Any], *lines: str) -> None:
    """Print the result of an action: as JSON, or as lines for people, of which the first is green.

    Args:
        as_json: Whether ``--json`` was given.
        result: The fields of the JSON object.
        lines: What is printed otherwise.
    """
    if as_json:
        print_json(result)
        return
    for number, line in enumerate(lines):
        print_line(line, None if number else "green")


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error, unless ``--yes`` was given; every answer but "y" ends the command with exit code 1."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def show_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing as a JSON object, or as a table of its fields, in which lists are joined by commas."""
    if as_json:
        print_json(fields)
        return
    show_table(("field", "value"), [(name, _cell(value)) for name, value in fields.items()])


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value))
    return str(value)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings: aligned on a terminal, separated by tabs if another program reads them.

    The headings are printed for another program, too, which may be a pager; a program that parses uses ``--json``.

    Args:
        columns: The headings.
        rows: The cells of each row.
    """
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        for row in [columns, *rows]:
            # Not printed by rich, which replaces tabs by spaces.
            typer.echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
