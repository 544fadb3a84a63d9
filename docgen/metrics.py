"""Generates ``docs/reference/metrics.md`` from the metrics that a city registers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from .markdown import code, header, table

_PREFIX = "daarion_"


def page(registry: CollectorRegistry) -> str:
    rows = sorted(
        (code(family.name + ("_total" if family.type == "counter" else "")), family.type, family.documentation)
        for family in registry.collect()
        if family.name.startswith(_PREFIX)
    )
    return header("Metrics", "the metrics that the service registers", "metrics") + table(
        ("metric", "type", "meaning"), rows
    )
