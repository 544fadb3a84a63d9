"""``python -m benchmarks.presence [--quick] [--only heartbeats|fanout|ghosts]``: measures, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from . import fanout, ghosts, heartbeats, machine, report, store

Rows = list[dict[str, Any]]

_PARTS: Final = ("heartbeats", "fanout", "ghosts")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presence", description="Measure presence.")
    parser.add_argument("--quick", action="store_true", help="small, about two minutes, shown but not written")
    parser.add_argument("--only", choices=_PARTS, help="one part")
    arguments = parser.parse_args()
    uvloop.run(_run([arguments.only] if arguments.only else list(_PARTS), quick=arguments.quick))


async def _run(parts: list[str], *, quick: bool) -> None:
    sections = [each for part in parts for each in (("store", part) if part == "heartbeats" else (part,))]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        for section in sections:
            began_s = time.monotonic()
            rows = await _measures(quick=quick)[section](Path(directory) / section)
            _say(f"\n{section}, {time.monotonic() - began_s:.0f} s\n\n{report.render(section, rows)}")
            if not quick:
                report.write(section, machine.describe(), rows)


def _measures(*, quick: bool) -> dict[str, Callable[[Path], Awaitable[Rows]]]:
    return {
        "store": lambda directory: store.measure(store.QUICK if quick else store.Plan(), directory),
        "heartbeats": lambda directory: heartbeats.measure(heartbeats.QUICK if quick else heartbeats.Plan(), directory),
        "fanout": lambda directory: fanout.measure(fanout.QUICK if quick else fanout.Plan(), directory),
        "ghosts": lambda directory: ghosts.measure(ghosts.QUICK if quick else ghosts.Plan(), directory),
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
