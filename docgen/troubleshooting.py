"""Generates ``docs/how-to/troubleshooting.md`` from the checks of ``daarion_appservice.doctor``."""

from __future__ import annotations

from collections.abc import Iterator

from daarion_appservice.doctor.catalogue import CHECKS, GROUPS
from daarion_appservice.doctor.checks import Check

from .markdown import code, header, table


def page() -> str:
    return (
        header("Troubleshooting", "the checks in daarion_appservice/doctor", "troubleshooting")
        + "\n## By symptom\n"
        + table(("symptom", "checks that name the cause"), _symptoms())
        + "\n## By check\n"
        + "".join(_group(title, checks) for title, checks in GROUPS.items())
    )


def _symptoms() -> Iterator[tuple[str, str]]:
    checks: dict[str, list[str]] = {}
    for each in CHECKS:
        for symptom in each.symptoms:
            checks.setdefault(symptom, []).append(each.name)
    for symptom in sorted(checks):
        yield symptom, ", ".join(map(code, checks[symptom]))


def _group(title: str, checks: tuple[Check, ...]) -> str:
    rows = ((code(each.name), _description(each), ", ".join(map(code, each.needs))) for each in checks)
    return f"\n### {title}\n{table(('check', 'passes if', 'needs'), rows)}"


def _description(check: Check) -> str:
    return check.description.replace("``", "`")
