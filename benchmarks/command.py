"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from . import machine, report

Measure = Callable[[Path, bool], Awaitable[list[dict[str, Any]]]]
"""Measures one section; called with an empty directory and whether to run the quick plan, returns the table's rows."""


def main(subject: str, parts: Mapping[str, Mapping[str, Measure]], libraries: Sequence[str]) -> None:
    """Run a benchmark's command line; ``parts`` maps each value of ``--only`` to its sections of the page."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{subject}", description=f"Measure {subject}.")
    parser.add_argument("--quick", action="store_true", help="small, within minutes, shown but not written")
    parser.add_argument("--only", choices=parts, help="one part")
    arguments = parser.parse_args()
    chosen = [parts[arguments.only]] if arguments.only else list(parts.values())
    sections = {section: measure for part in chosen for section, measure in part.items()}
    uvloop.run(_run(sections, libraries, quick=arguments.quick))


async def _run(sections: Mapping[str, Measure], libraries: Sequence[str], *, quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        for section, measure in sections.items():
            began_s = time.monotonic()
            rows = await measure(Path(directory) / section, quick)
            _say(f"\n{section}, {time.monotonic() - began_s:.0f} s\n\n{report.render(section, rows)}")
            if not quick:
                report.write(section, machine.describe(libraries), rows)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
