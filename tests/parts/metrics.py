"""Reads metrics in tests: those that are global to the process, and those of one city."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from daarion_appservice.ops.process_metrics import process_registry
from tests.parts.in_process_city import InProcessCity


class Moves:
    """How far metrics have moved since this object was created; other tests of the process moved them before.

    Args:
        registry: the metrics of a city; by default those that are global to the process.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or process_registry()
        self._before = self._values()

    def of(self, name: str, /, **labels: str) -> float:
        """Return the sum of the moves of a metric's samples that have these labels."""
        return sum(
            value - self._before.get(sample, 0.0)
            for sample, value in self._values(name).items()
            if set(labels.items()) <= sample[1]
        )

    def _values(self, name: str | None = None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        # The process has more series with each city of a test, and tests read a value in a loop until it has moved.
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self._registry.collect()
            for sample in family.samples
            if name in (None, sample.name)
        }


async def scrape(city: InProcessCity) -> dict[str, dict[str, float]]:
    """Return the values of each sample by its labels, as `GET /metrics` has them."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(await city.get("/metrics", listener="matrix")):
        for sample in family.samples:
            found.setdefault(sample.name, {})["/".join(sample.labels.values())] = sample.value
    return found
