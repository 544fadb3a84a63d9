"""Measure cost curves: what a unit of work costs with more subjects, rooms, messages and sockets, and a start; about 30 minutes.

Usage: ``python -m benchmarks.curves [--quick] [--only subjects|rooms|messages|sockets|restarts]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import command, curves_rooms, curves_sockets, curves_subjects, restarts

Rows = list[dict[str, Any]]

_LIBRARIES: Final = ("aiohttp", "uvloop", "sqlalchemy", "asyncpg")


async def _subjects(directory: Path, quick: bool) -> Rows:
    return await curves_subjects.measure(curves_subjects.QUICK if quick else curves_subjects.Plan(), directory)


async def _rooms(directory: Path, quick: bool) -> Rows:
    return await curves_rooms.measure(curves_rooms.QUICK_ROOMS if quick else curves_rooms.ROOMS, directory)


async def _messages(directory: Path, quick: bool) -> Rows:
    return await curves_rooms.measure(curves_rooms.QUICK_MESSAGES if quick else curves_rooms.MESSAGES, directory)


async def _sockets(directory: Path, quick: bool) -> Rows:
    return await curves_sockets.measure(curves_sockets.QUICK if quick else curves_sockets.Plan(), directory)


async def _restarts(directory: Path, quick: bool) -> Rows:
    return await restarts.measure(restarts.QUICK if quick else restarts.Plan(), directory)


def main() -> None:
    parts = {
        "subjects": {"curve_subjects": _subjects},
        "rooms": {"curve_rooms": _rooms},
        "messages": {"curve_messages": _messages},
        "sockets": {"curve_sockets": _sockets},
        "restarts": {"restarts": _restarts},
    }
    command.main("curves", parts, _LIBRARIES)


if __name__ == "__main__":
    main()
