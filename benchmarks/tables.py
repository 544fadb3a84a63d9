"""Markdown tables and the format of their figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def known(figure: float | None) -> float | None:
    """Return a measured figure; None for NaN and for null in JSON."""
    return None if figure is None or math.isnan(figure) else figure


def number(figure: float | None) -> str:
    """Format a figure with three significant digits."""
    it = known(figure)
    return "" if it is None else f"{it:.{0 if it >= 100 else 1 if it >= 10 else 2}f}"


def count(figure: float | None) -> str:
    it = known(figure)
    return "" if it is None else f"{it:,.0f}"


def percent(share: float | None) -> str:
    it = known(share)
    return "" if it is None else f"{it:.0%}"
