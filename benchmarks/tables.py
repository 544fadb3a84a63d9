"""Tables in Markdown, and figures in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def known(figure: float | None) -> float | None:
    """None for what was not measured; it comes back from JSON as None, too."""
    return None if figure is None or math.isnan(figure) else figure


def number(figure: float | None) -> str:
    """Three digits of it."""
    it = known(figure)
    return "" if it is None else f"{it:.{0 if it >= 100 else 1 if it >= 10 else 2}f}"


def count(figure: float | None) -> str:
    it = known(figure)
    return "" if it is None else f"{it:,.0f}"


def percent(share: float | None) -> str:
    it = known(share)
    return "" if it is None else f"{it:.0%}"
