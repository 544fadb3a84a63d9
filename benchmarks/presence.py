"""Measure presence: heartbeats, fan-out and ghosts; write the tables of docs/reference/benchmarks.md.

Usage: ``python -m benchmarks.presence [--quick] [--only heartbeats|fanout|ghosts]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import command, fanout, ghosts, heartbeats, store

Rows = list[dict[str, Any]]

_LIBRARIES: Final = ("aiohttp", "uvloop", "redis", "python-socketio", "matrix-synapse")


async def _store(directory: Path, quick: bool) -> Rows:
    return await store.measure(store.QUICK if quick else store.Plan(), directory)


async def _heartbeats(directory: Path, quick: bool) -> Rows:
    return await heartbeats.measure(heartbeats.QUICK if quick else heartbeats.Plan(), directory)


async def _fanout(directory: Path, quick: bool) -> Rows:
    return await fanout.measure(fanout.QUICK if quick else fanout.Plan(), directory)


async def _ghosts(directory: Path, quick: bool) -> Rows:
    return await ghosts.measure(ghosts.QUICK if quick else ghosts.Plan(), directory)


def main() -> None:
    parts = {
        "heartbeats": {"store": _store, "heartbeats": _heartbeats},
        "fanout": {"fanout": _fanout},
        "ghosts": {"ghosts": _ghosts},
    }
    command.main("presence", parts, _LIBRARIES)


if __name__ == "__main__":
    main()
