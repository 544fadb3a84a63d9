"""Renders results as text for a terminal and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .. import __version__
from .findings import CheckStatus
from .runner import CheckResult

FORMAT: Final = 1
"""The version of the JSON. Fields and checks may be added to it; names and meanings stay the same."""

_STYLES: Final = {
    CheckStatus.PASS: "green",
    CheckStatus.WARN: "yellow",
    CheckStatus.FAIL: "red",
    CheckStatus.SKIP: "dim",
}


def exit_code(results: Sequence[CheckResult]) -> int:
    """Return 2 if a check failed, 1 if one warns, otherwise 0."""
    statuses = {result.finding.status for result in results}
    return 2 if CheckStatus.FAIL in statuses else 1 if CheckStatus.WARN in statuses else 0


def as_json(results: Sequence[CheckResult], groups: Mapping[str, str]) -> dict[str, Any]:
    """Return the report as a JSON object.

    Args:
        results: the results in the order of the catalogue.
        groups: the group of each check by the check's name.
    """
    counts = Counter(result.finding.status for result in results)
    return {
        "format": FORMAT,
        "version": __version__,
        "exit_code": exit_code(results),
        "counts": {status.value: counts[status] for status in CheckStatus},
        "checks": [
            {
                "name": result.name,
                "group": groups[result.name],
                "status": result.finding.status.value,
                "summary": result.finding.summary,
                "advice": result.finding.advice,
                "duration_ms": round(result.duration_s * 1000),
            }
            for result in results
        ],
    }


def as_lines(results: Sequence[CheckResult], groups: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return the report as lines with their styles: one line for each check, and one for its advice.

    Args:
        results: the results in the order of the catalogue.
        groups: the group of each check by the check's name.
    """
    lines: list[tuple[str, str | None]] = []
    width = max(len(result.name) for result in results)
    group = ""
    for result in results:
        if groups[result.name] != group:
            group = groups[result.name]
            lines.append((group, "bold"))
        finding = result.finding
        status = finding.status.value.upper()
        lines.append((f"  {status}  {result.name.ljust(width)}  {finding.summary}", _STYLES[finding.status]))
        if finding.advice:
            lines.append((f"  {' ' * len(status)}  -> {finding.advice}", None))
    counts = Counter(result.finding.status for result in results)
    lines.append((", ".join(f"{counts[status]} {status.value}" for status in CheckStatus), "bold"))
    return lines
