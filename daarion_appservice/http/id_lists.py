"""Lists of ids in a query, separated by commas."""

from __future__ import annotations


def split_ids(text: str) -> list[str]:
    """Split ``text`` at its commas. A historical Matrix user id may hold commas before its colon: such a part is put together."""
    ids: list[str] = []
    for part in text.split(","):
        if ids and ids[-1].startswith("@") and ":" not in ids[-1]:
            ids[-1] += f",{part}"
        else:
            ids.append(part)
    return [each for each in ids if each]
