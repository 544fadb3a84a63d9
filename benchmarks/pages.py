"""Measure the pages in Chromium: loading, key strokes, live presence and typing of others; write tables of benchmarks.md.

Usage: ``python -m benchmarks.pages [--quick] [--only loading|keys|presence|typing]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import command, pages_keys, pages_loading, pages_presence, pages_typing

Rows = list[dict[str, Any]]

_LIBRARIES: Final = ("aiohttp", "uvloop", "playwright")


async def _loading(directory: Path, quick: bool) -> Rows:
    return await pages_loading.measure(pages_loading.QUICK if quick else pages_loading.Plan(), directory)


async def _keys(directory: Path, quick: bool) -> Rows:
    return await pages_keys.measure(pages_keys.QUICK if quick else pages_keys.Plan(), directory)


async def _presence(directory: Path, quick: bool) -> Rows:
    return await pages_presence.measure(pages_presence.QUICK if quick else pages_presence.Plan(), directory)


async def _typing(directory: Path, quick: bool) -> Rows:
    return await pages_typing.measure(pages_typing.QUICK if quick else pages_typing.Plan(), directory)


def main() -> None:
    parts = {
        "loading": {"page_loading": _loading},
        "keys": {"page_keys": _keys},
        "presence": {"page_presence": _presence},
        "typing": {"page_typing": _typing},
    }
    command.main("pages", parts, _LIBRARIES)


if __name__ == "__main__":
    main()
