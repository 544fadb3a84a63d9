"""Lists of ids in a query, separated by commas."""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 4_000
"""Of one such list: the request line that holds it may have 8,190 bytes, and a character up to 12 when it is percent-encoded."""


def split_ids(text: str) -> list[str]:
    """Split ``text`` at its commas. A historical Matrix user id may hold commas before its colon: such a part is put together."""
    ids: list[str] = []
    for part in text.split(","):
        if ids and ids[-1].startswith("@") and ":" not in ids[-1]:
            ids[-1] += f",{part}"
        else:
            ids.append(part)
    return [each for each in ids if each]
