"""Findings of checks: a status, one line on what was found, and one on what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """The result of a check."""

    PASS = "pass"  # noqa: S105 -- not a password
    WARN = "warn"
    """Something works badly, or will fail: the city does its job."""
    FAIL = "fail"
    """Something does not work."""
    SKIP = "skip"
    """The check does not apply to this installation, or another check failed that it needs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``advice`` is empty unless the status is WARN or FAIL."""

    status: CheckStatus
    summary: str
    advice: str = ""


def passed(summary: str) -> Finding:
    return Finding(CheckStatus.PASS, summary)


def warning(summary: str, advice: str) -> Finding:
    return Finding(CheckStatus.WARN, summary, advice)


def failed(summary: str, advice: str) -> Finding:
    return Finding(CheckStatus.FAIL, summary, advice)


def skipped(summary: str) -> Finding:
    return Finding(CheckStatus.SKIP, summary)


def listed(items: list[str], most: int = 3) -> str:
    """Return the first ``most`` items separated by semicolons, and the number of the others."""
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more} more" if more > 0 else "")
