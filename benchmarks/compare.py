"""Compare this tree with another revision: both run the same quick benchmark in turns, and the ratios are printed.

Usage: ``python -m benchmarks.compare REVISION [--rounds 3] [presence|rooms|pages] [--only PART]`` (``make bench-compare REV=…``).

Times depend on the machine and on what else runs on it, so only the ratios of the medians say something: both trees are
measured in turns, with the libraries of this tree, each with its own programs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
_PAGES: Final = Path("daarion_appservice", "web_dist")
_RULE: Final = re.compile(r"^\|( --- \|)+$")
_NUMBER: Final = re.compile(r"^[+-]?[\d,]*\.?\d+%?$")


@dataclass(frozen=True)
class Table:
    """A table of a benchmark: the names of its columns and its rows, as printed."""

    columns: list[str]
    rows: list[list[str]]

    @property
    def labels(self) -> int:
        """The number of columns that name what was measured: all up to the last one with words."""
        words = [
            number
            for number in range(len(self.columns))
            if any(row[number] and _NUMBER.match(row[number]) is None for row in self.rows)
        ]
        # Columns after the fourth with words ("yes", "no") are results, not labels.
        return next((number + 1 for number in reversed(words) if number < 4), 1)


def tables(output: str) -> list[Table]:
    """Return the tables of a benchmark's output."""
    found: list[Table] = []
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if _RULE.match(line) and number:
            rows = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(_cells(row))
            found.append(Table(_cells(lines[number - 1]), rows))
    return found


def ratios(ours: Sequence[Table], theirs: Sequence[Table]) -> list[tuple[str, str, float]]:
    """Return label, column and the ratio of the medians (this tree : the other) of each figure.

    Args:
        ours: the same table of each round in this tree.
        theirs: the same of the other tree.
    """
    found = []
    first = ours[0]
    for row_number, row in enumerate(first.rows):
        label = " · ".join(filter(None, row[: first.labels]))
        for column in range(first.labels, len(first.columns)):
            mine, other = (
                [value for table in each if (value := _value(table, row_number, column)) is not None]
                for each in (ours, theirs)
            )
            if mine and other and median(other):
                found.append((label, first.columns[column], median(mine) / median(other)))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _value(table: Table, row: int, column: int) -> float | None:
    if row >= len(table.rows) or column >= len(table.rows[row]):
        return None
    cell = table.rows[row][column]
    return float(cell.replace(",", "").rstrip("%")) if _NUMBER.match(cell) else None


@contextmanager
def _checked_out(revision: str) -> Iterator[Path]:
    """Check a revision out in a directory of its own, with the built pages of this tree."""
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as directory:
        tree = Path(directory) / "tree"
        _git("worktree", "add", "--detach", str(tree), revision)
        try:
            if (ROOT / _PAGES).is_dir() and not (tree / _PAGES).exists():
                (tree / _PAGES).symlink_to(ROOT / _PAGES)
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, stdout=subprocess.DEVNULL)


def _measure(tree: Path, subject: str, arguments: Sequence[str]) -> list[Table]:
    command = [sys.executable, "-m", f"benchmarks.{subject}", "--quick", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    ran = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return tables(ran.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare with another revision.")
    parser.add_argument("revision", help="a commit, branch or tag")
    parser.add_argument("subject", nargs="?", default="rooms", choices=("presence", "rooms", "pages"))
    parser.add_argument("--only", help="one part of the benchmark, such as reads", default="reads")
    parser.add_argument("--rounds", type=int, default=3, help="how often each tree is measured")
    arguments = parser.parse_args()
    ours: list[list[Table]] = []
    theirs: list[list[Table]] = []
    with _checked_out(arguments.revision) as other:
        for _ in range(arguments.rounds):
            ours.append(_measure(ROOT, arguments.subject, ["--only", arguments.only]))
            theirs.append(_measure(other, arguments.subject, ["--only", arguments.only]))
    sys.stdout.write(f"this tree : {arguments.revision}, medians of {arguments.rounds} rounds\n\n")
    for mine, other_tables in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        sys.stdout.write("| what | figure | ratio |\n| --- | --- | --- |\n")
        for label, column, ratio in ratios(mine, other_tables):
            sys.stdout.write(f"| {label} | {column} | {ratio:.2f} |\n")
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
