"""Generates ``docs/reference/metrics.md`` from the metrics that a city registers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from .markdown import code, header, table

_PREFIX = "daarion_"
_SUFFIXES = {"counter": "_total", "info": "_info"}
"""What names of the exposition format have in addition, by the type of the metric."""


def exported(registry: CollectorRegistry) -> dict[str, tuple[str, str]]:
    """Return the type and meaning of each metric by its name."""
    return {
        family.name + _SUFFIXES.get(family.type, ""): (family.type, family.documentation)
        for family in registry.collect()
    }


def page(registry: CollectorRegistry) -> str:
    rows = [
        (code(name), kind, documentation)
        for name, (kind, documentation) in sorted(exported(registry).items())
        if name.startswith(_PREFIX)
    ]
    return header("Metrics", "the metrics that the service registers", "metrics") + table(
        ("metric", "type", "meaning"), rows
    )
