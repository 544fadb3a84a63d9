"""Parses comma-separated lists of ids in a query."""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 4_000
"""The limit of a list: its request line may have 8,190 bytes, and a percent-encoded character up to 12."""


def split_ids(text: str) -> list[str]:
    """Split ``text`` at its commas, except inside the localpart of a Matrix user id: historical user ids may contain commas."""
    ids: list[str] = []
    for part in text.split(","):
        if ids and ids[-1].startswith("@") and ":" not in ids[-1]:
            ids[-1] += f",{part}"
        else:
            ids.append(part)
    return [each for each in ids if each]
